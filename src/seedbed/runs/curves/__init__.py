"""The curves of a run: its steps in rows of 64, the index file that keeps those rows, and points for a picture of any zoom.

The index has a format of its own because nothing standard does the same for less: it is appended to while the job
trains, survives a kill at any byte (each row is followed by the checksum of all before it), needs no numpy, and loads
column by column. With it the curves of a run of a million steps are there in 0.1 s, instead of the 5 s that reading the
log takes. An open metric is read from the log, in 1.5 s (see open_metrics.py).
"""
