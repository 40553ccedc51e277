"""The decoder, its KV cache, its weights under Hugging Face names, loading, and generation."""
