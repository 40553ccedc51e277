"""The window in terminals of 80x24 to 200x60, over no run, one run and 200: what is on its screen, and whether it fits."""
