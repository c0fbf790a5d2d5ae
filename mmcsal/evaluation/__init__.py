"""Does it pick better? Strategies x budgets x seeds on labeled embeddings, and what their labels buy."""
