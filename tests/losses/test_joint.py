import pytest
import torch
import torch.nn.functional as F

from mmcsal.losses import MmsslObjective, MmsslSpec
from mmcsal.losses.info_nce import info_nce
from mmcsal.losses.swav import swav_loss


def unit_rows(seed: int, n: int = 10, d: int = 6) -> torch.Tensor:
    return F.normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), dim=1)


def test_total_is_the_weighted_sum_of_its_parts():
    spec = MmsslSpec(lambda_proto=0.3, lambda_centroid=0.7)
    objective = MmsslObjective(spec, ("video", "audio"), 6).double()
    (v1, a1), (v2, a2) = (unit_rows(0), unit_rows(1)), (unit_rows(2), unit_rows(3))
    total, parts = objective((v1, a1), (v2, a2))
    cross = (info_nce(v1, a1, 5.0) + info_nce(v2, a2, 5.0)) / 2
    proto = [
        swav_loss(x, y, objective.proto[m].prototypes, spec.proto) for m, x, y in (("video", v1, v2), ("audio", a1, a2))
    ]
    centroid = ((v1 + v2).mean(0) / 2 - (a1 + a2).mean(0) / 2).square().sum()
    torch.testing.assert_close(total, cross + 0.3 * sum(proto) / 2 + 0.7 * centroid, rtol=1e-6, atol=1e-8)
    assert set(parts) == {"loss", "cross", "proto", "centroid", "own_log_p"}
    assert not any(part.requires_grad for part in parts.values())


def test_presets():
    assert (MmsslSpec().cross.temperature, MmsslSpec().lambda_proto, MmsslSpec().lambda_centroid) == (0.2, 0.25, 1.0)
    paper = MmsslSpec.model_validate({"preset": "paper"})
    assert (paper.cross.temperature, paper.cross.learn_temperature) == (0.07, True)
    assert (paper.lambda_proto, paper.lambda_centroid) == (1.0, 0.0)


def test_what_the_user_sets_wins_over_the_preset():
    spec = MmsslSpec.model_validate({"preset": "paper", "lambda_proto": 0.5, "cross": {"temperature": 0.1}})
    assert (spec.lambda_proto, spec.cross.temperature, spec.cross.learn_temperature) == (0.5, 0.1, True)
    assert MmsslSpec.model_validate(spec.model_dump()) == spec


def test_unknown_preset_is_named():
    with pytest.raises(ValueError, match="preset"):
        MmsslSpec.model_validate({"preset": "papre"})


def test_prototypes_are_frozen_in_the_first_epoch_only():
    objective = MmsslObjective(MmsslSpec(), ("video", "audio"), 6)
    assert len(objective.frozen_parameters(0)) == 2
    assert objective.frozen_parameters(1) == []
