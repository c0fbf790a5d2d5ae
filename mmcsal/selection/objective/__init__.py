"""What a batch is worth and what it may hold: terms, alignment scores, weights, limits. No search for picks."""
