"""What is here: probes of CPU, memory and GPU, each missing figure with its reason. Refuses to know what is wanted."""
