"""The corpora, one file each: how each is opened, read and split. None knows another."""
