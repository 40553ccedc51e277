"""The scores: config in, parts built, work done; one page for each kind of work."""
