"""Text to ids and back. Refuses to know where text comes from and what the ids are for."""
