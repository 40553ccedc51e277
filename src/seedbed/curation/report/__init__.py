"""The report card of a dataset: what is in it, what was left out, and how it was made."""
