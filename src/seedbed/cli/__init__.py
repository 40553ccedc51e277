"""The command line: each command parses its arguments, calls an action, and prints the result.

Each command is a module. Slow imports are inside its functions, so that `seedbed --help` starts fast.
"""
