"""What is wanted: frozen, strict, printable, layered; and its arithmetic. Knows nothing of what is here or what ran."""
