"""What all front ends show, independent of terminal and browser: texts on runs, logs, curves, actions, lists, forms."""
