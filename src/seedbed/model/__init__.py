"""The network, its cache, its weights under Hugging Face names, loading, and the decode loop."""
