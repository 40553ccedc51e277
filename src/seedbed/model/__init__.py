"""The network: its pages, its cache, its families, and the decode loop that everything shares."""
