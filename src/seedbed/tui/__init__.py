"""A window in the terminal: panels over the runs. Looks and asks; never touches a run."""
