"""What the command line and the window show alike: what happened in a run in words, its log, its curves as lines."""
