"""Fill-in-the-middle rows: pieces of source files whose middle is to be written between a prefix and a suffix."""
