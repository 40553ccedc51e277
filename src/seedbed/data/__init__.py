"""From sources to shards to batches; every dropped record has a reason that is counted. Never learns who watches."""
