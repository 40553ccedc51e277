"""Data: text sources, prepared datasets (tokenised shards), and training batches. Every dropped record is counted by reason."""
