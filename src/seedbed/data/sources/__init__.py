"""The text sources, one file each: open, read and split a corpus."""
