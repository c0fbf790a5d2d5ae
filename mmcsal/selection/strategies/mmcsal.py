"""The `mmcsal` strategy: a batch that covers the pool and whose pairs agree, by greedy and swaps in cells.

What may be set of it: it is made of cells and of a merge, which are in `scaleout`.

Source:
    Shen et al. 2024 (MMCSAL), arXiv 2412.09126.
"""

from typing import Annotated, Literal

from pydantic import Field

from mmcsal.contracts.spec import Spec


class MmcsalSpec(Spec):
    """The default strategy: greedy in cells, one greedy and a swap search over what the cells propose."""

    kind: Literal["mmcsal"] = "mmcsal"
    # Pools up to this many rows are solved as one cell; no cell of a larger pool holds more. The memory of a
    # task grows with its square (two bytes a pair of rows).
    max_cell_size: Annotated[int, Field(ge=16, le=32768)] = 8192
    # Up to this many rows a pick every row takes part in the selection; with more, 1/2 of this many rows a pick do
    # (those of lowest hash), and an exchange pass moves each pick to the best medoid of what it covers.
    max_rows_per_pick: Annotated[int, Field(ge=16)] = 1024
    # Passes of the swap search over the candidates; 0 = none. It ends by itself when nothing improves.
    max_swap_passes: Annotated[int, Field(ge=0)] = 10
