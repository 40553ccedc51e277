"""The Hugging Face Hub: names of models, its cache on this machine, downloads, and errors in plain words. Imports no torch."""
