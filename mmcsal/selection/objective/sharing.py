"""How much the modalities share, told without labels: rho, the share of the joint coverage.

Separation is how well own pairs are told from pairs that do not belong together (the alignment's `Anchors`): .5 where
one modality says nothing of the other, 1 where it says all.
"""

LEAST, SPAN = 0.6, 0.3  # separation at which nothing is taken to be shared, and from there to that of everything


def shared_part(separation: float) -> float:
    """rho of a separation, in [0, 1], rising."""
    return min(max((separation - LEAST) / SPAN, 0.0), 1.0)
