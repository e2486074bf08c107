"""State of a sweep on disk: durable writes, the journal, the fold, and the transactions over them (store)."""
