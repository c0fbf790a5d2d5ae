"""What holds for every encoder, found from the unions of `mmcsal.models`: a new one is tested without a new line."""

from typing import Any, get_args

import pytest
import torch
from torch import Tensor, nn

from benchmarks.pretrain_gpu import BATCH_SIZES
from mmcsal.models import AudioEncoderSpec, VideoEncoderSpec
from mmcsal.models.encoders.video.gray import to_gray

torch.set_num_threads(1)
UNIONS = {"video": VideoEncoderSpec, "audio": AudioEncoderSpec}
SPECS: dict[tuple[str, str], Any] = {
    (modality, spec.model_fields["kind"].default): spec
    for modality, union in UNIONS.items()
    for spec in get_args(get_args(union)[0])
}
VIDEO = [key for key in SPECS if key[0] == "video"]
every_encoder = pytest.mark.parametrize("key", SPECS, ids="-".join)
NUM_CLIPS = 3


def clips(modality: str, *, seed: int = 0) -> Tensor:
    """Float [B, T, H, W, 3] in [0, 1], or [B, L] in [-1, 1]."""
    generator = torch.Generator().manual_seed(seed)
    if modality == "video":
        return torch.rand(NUM_CLIPS, 4, 32, 32, 3, generator=generator)
    return 2 * torch.rand(NUM_CLIPS, 8000, generator=generator) - 1


def build(spec: Any, *, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return spec.build()


@every_encoder
def test_features_are_as_wide_as_it_says_and_finite_for_nothing_too(key):
    encoder, x = build(SPECS[key]()).eval(), clips(key[0])
    for given in (x, torch.zeros_like(x), torch.ones_like(x)):
        features = encoder(given)
        assert features.shape == (NUM_CLIPS, encoder.width)
        assert features.dtype == torch.float32
        assert torch.isfinite(features).all()


@every_encoder
def test_weights_and_features_follow_from_the_seed(key):
    x = clips(key[0])
    first, again, other = (build(SPECS[key](), seed=seed).eval() for seed in (0, 0, 1))
    assert torch.equal(first(x), again(x))
    assert not torch.equal(first(x), other(x))


@every_encoder
def test_clips_are_told_apart(key):
    encoder = build(SPECS[key]()).eval()
    features = encoder(clips(key[0]))
    assert (features[0] - features[1]).abs().max() > 1e-4
    assert torch.equal(encoder(clips(key[0])), features), "looking does not change it"


@every_encoder
def test_in_training_clips_are_seen_one_by_one_unless_it_says_that_it_depends_on_the_batch(key):
    norms = [{"norm": norm} for norm in ("group", "frozen", "batch")] if "norm" in SPECS[key].model_fields else [{}]
    x, others = clips(key[0]), clips(key[0], seed=1)
    beside = torch.cat([x[:1], others[1:]])
    for given in norms:
        spec = SPECS[key](**given)
        encoder = build(spec).train()
        with torch.no_grad():
            is_alone = torch.allclose(encoder(x)[0], encoder(beside)[0], rtol=1e-4, atol=1e-5)
        assert is_alone != spec.depends_on_batch, given


@every_encoder
def test_every_weight_gets_a_finite_gradient(key):
    encoder = build(SPECS[key]()).train()
    features = encoder(clips(key[0]))
    (features * torch.linspace(-1, 1, features.numel()).view_as(features)).square().sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("key", VIDEO, ids="-".join)
def test_colour_is_looked_at_where_it_says_so_and_nowhere_else(key):
    spec, x = SPECS[key](), clips("video")
    encoder = build(spec).eval()
    if spec.needs_color:
        assert (encoder(x) - encoder(to_gray(x).expand_as(x))).abs().max() > 1e-4
    else:
        torch.testing.assert_close(encoder(to_gray(x)), encoder(x))


@every_encoder
def test_a_dumped_spec_is_the_same_encoder(key):
    spec = SPECS[key]()
    assert type(spec).model_validate(spec.model_dump(mode="json")) == spec
    assert spec.kind == key[1]


@every_encoder
def test_it_is_measured_on_a_gpu(key):
    place = list(UNIONS).index(key[0])
    assert key[1] in {pair.split("+")[place] for pair in BATCH_SIZES}, (
        "benchmarks/pretrain_gpu.py: add it to BATCH_SIZES"
    )
