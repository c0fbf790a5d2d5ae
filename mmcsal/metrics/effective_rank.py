"""How many dimensions embeddings make use of."""

from mmcsal.metrics.arrays import Array, as_float64, namespace_of


def effective_rank(x_ND: Array) -> Array:
    """exp of the entropy of the singular values of the centred embeddings, as shares of their sum.

    Args:
        x_ND: embeddings of one modality.

    Returns:
        scalar in [1, min(N - 1, D)]; 1 where they lie on a line, or in one point.

    Raises:
        ValueError: N < 2.

    Source:
        Roy & Vetterli, EUSIPCO 2007; Garrido et al. (RankMe), ICML 2023, as a label-free sign of collapse.
    """
    if x_ND.ndim != 2 or len(x_ND) < 2:
        raise ValueError(f"effective_rank: expected [N >= 2, D], got {tuple(x_ND.shape)}")
    xp = namespace_of(x_ND)
    values = xp.linalg.svdvals(as_float64(x_ND - x_ND.mean(axis=0)))
    share = values[values > 0] / values.sum()  # of none where all lie in one point
    return xp.exp(-(share * xp.log(share)).sum())
