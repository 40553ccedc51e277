"""The show: an endless sequence of simulated training runs as a stream of timed items."""
