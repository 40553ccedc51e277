"""Reads git repositories and folders of source files: their files, their history, and where they are."""
