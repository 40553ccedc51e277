"""The curves of a run: rows that each summarise 64 steps, the index file that stores them, and points to plot at any zoom.

The index has its own format because training appends to it, it must survive a kill at any byte (each row is followed by
the checksum of all data before it), and it must load column by column without numpy. With the index, the curves of a
run of a million steps load in 0.1 s; reading the log instead takes 5 s. An open metric (one that Seedbed does not know
by name) is read from the log, in 1.5 s (see open_metrics.py).
"""
