"""Which settings of the selection are the best for this pool: a search, and an answer that survives fresh seeds."""
