"""The terminal window: panels that show the runs. It reads runs, and changes them only through `seedbed.actions`."""
