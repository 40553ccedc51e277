"""The terminal window: panels that show runs. It reads runs itself, but changes them only through `seedbed.actions`."""
