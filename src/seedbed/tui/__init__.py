"""The terminal window: panels over the runs. It reads runs and sends requests; it never changes a run itself."""
