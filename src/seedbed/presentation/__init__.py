"""What all front ends show, independent of terminal and browser: texts about runs, logs, curves, actions, lists, forms."""
