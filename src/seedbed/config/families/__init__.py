"""What the decoder builds for each model family, and how the family's Hugging Face files name it. One file per family."""
