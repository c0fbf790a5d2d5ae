"""Does it pick better? Strategies x budgets x seeds on labeled embeddings, and what their labels buy.

Shape suffixes beside those of `mmcsal.contracts`:

=====  ==========================================
T      strategies
B      budgets
S      seeds
C      classes of a test split
K      classes that a classifier knows
A      rows that are worked on at a time
=====  ==========================================
"""
