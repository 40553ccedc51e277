"""Finds exact and near duplicates among records, and keeps the best of each."""
