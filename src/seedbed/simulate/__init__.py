"""Plans and simulates training on machines that the user does not have: cost model, failures, loss. Imports no torch."""
