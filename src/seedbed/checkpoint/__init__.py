"""Checkpoints: model folders in Hugging Face format, written atomically."""
