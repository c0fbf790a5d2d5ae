"""Torch functions that losses, models and metrics share. No model, no loss, no metric.

Shape suffixes beside those of `mmcsal.contracts`:

=====  ==========================================
B      samples of one batch
K      clusters
E      clusters that are empty
=====  ==========================================
"""
