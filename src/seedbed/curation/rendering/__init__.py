"""From records to token ids with a mask of what is trained: chats by their template, text, and fill in the middle."""
