"""The door: parse, call one action, print. One file for each noun; everything heavy is imported inside the commands."""
