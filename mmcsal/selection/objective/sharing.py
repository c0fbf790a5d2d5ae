"""How much the modalities share, told without labels: rho, the share of the joint coverage.

Separation is how well own pairs are told from pairs that do not belong together (the alignment's `Anchors`): .5 where
one modality says nothing of the other, 1 where it says all. How far alignment can be trusted (`alignment.confidence`)
follows from it by another rule, because a mistake costs differently. An alignment that is noise must not steer at all.
Coverage keeps half of the joint kernel whatever the separation: with less of it, batches were worse where nothing is
shared as well (benchmarks/sharing.py).
"""

LEAST_RHO = 0.5


def joint_share(separation: float) -> float:
    """rho, in [.5, 1], rising: how much more often own pairs are told right than wrong, at least a half."""
    return min(max(2 * separation - 1, LEAST_RHO), 1.0)
