"""Redaction: secrets and personal data in texts are replaced by placeholders before anything is written."""
