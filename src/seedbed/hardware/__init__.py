"""Read properties and load of CPU, memory and GPU, with a reason for each missing value."""
