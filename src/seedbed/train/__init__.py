"""The training loop and its parts: step, learner, trainer, hooks, device, precision, compiling, random state."""
