"""Jobs: the processes that do the work of a run or task, one module per kind of work."""
