"""The curves of a run: its steps in rows of 64, the index file that keeps those rows, and points for a picture of any zoom.

The index has a format of its own because nothing standard does the same for less: it is appended to while the job
trains, survives a kill at any byte (each row is followed by the checksum of all before it), needs no numpy, and loads
column by column.
"""
