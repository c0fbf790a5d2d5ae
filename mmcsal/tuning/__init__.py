"""Which settings of the selection are the best for this pool: a search, and an answer that survives fresh seeds.

Shape suffixes beside those of `mmcsal.contracts`:

=====  ==========================================
T      strategies, or settings of one
K      keys that are searched over
=====  ==========================================
"""
