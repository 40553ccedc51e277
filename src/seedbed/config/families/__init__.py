"""The model families, one file each: what the decoder builds, and the names in the family's Hugging Face files."""
