"""From commits to examples of edits: the message and the files before it, and the edits that it made."""
