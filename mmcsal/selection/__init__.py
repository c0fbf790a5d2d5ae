"""Stage 2: which pairs to label first. Pure algorithms; `mmcsal.distributed.selection` runs the same steps on Ray.

Shape suffixes beside those of `mmcsal.contracts`:

=====  ==================================================================
A, B   rows of the first and of the second block of a comparison
C      candidates
E      entries of the neighbor graph
F      children of a node of the cell tree
G      quotas
J      neighbors that a row keeps, the closest first
K      clusters, prototypes
L      labeled samples
M      anchors, and other rows of the pool that all are compared with
Q      columns that quotas are about
R      some rows of the pool: of a node, a cluster, a sample, a draw
S      sums that a gradient is made of
T      entries of a table
U      parts of the coverage: a kernel of the joint embedding, and one of each modality
V      leaves of the cell tree
Y      classes of the labels
=====  ==================================================================
"""

from mmcsal.selection.api import select_pairs
from mmcsal.selection.objective.pair_scores import PairScores
from mmcsal.selection.result import Selection
from mmcsal.selection.spec import Quota, SelectSpec, TotalCost
from mmcsal.selection.strategies import MmcsalSpec

__all__ = ["MmcsalSpec", "PairScores", "Quota", "SelectSpec", "Selection", "TotalCost", "select_pairs"]
