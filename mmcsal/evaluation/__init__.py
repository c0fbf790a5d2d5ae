"""Does it pick better? Strategies x budgets x seeds on labeled embeddings, and what their labels buy.

Not here: reading what annotators hand in (`labeling`), and running trials side by side (`distributed/stages`).
"""
