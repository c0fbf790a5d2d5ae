"""Clips from Parquet to batches, in an order that everyone agrees on; what is computed from a batch is not here.

`index` knows which clips there are, `order` deals them out, `cache` and `reading` bring their tensors into memory,
`batches` puts these together for training, and `prefetch` draws them while the step before runs.
"""

from mmcsal.training.data.batches import ClipBatches
from mmcsal.training.data.reading import ClipBatch

__all__ = ["ClipBatch", "ClipBatches"]
