"""The memory: where runs live, what happened in them, and who is alive."""
