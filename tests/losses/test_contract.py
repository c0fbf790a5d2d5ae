"""What holds for the objective of Stage 1 with each kind of prototypes of the union, and for every file of a loss."""

from importlib import import_module
from pathlib import Path
from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mmcsal import losses
from mmcsal.losses import MmsslObjective, MmsslSpec
from mmcsal.losses.joint import PrototypeSpec

PROTOTYPES = {spec.model_fields["kind"].default: spec for spec in get_args(get_args(PrototypeSpec)[0])}
FILES = [path.stem for path in sorted(Path(losses.__path__[0]).glob("*.py")) if path.stem != "__init__"]
every_kind = pytest.mark.parametrize("kind", PROTOTYPES)
MODALITIES, NUM_ROWS, WIDTH, NUM_PROTOTYPES = ("video", "audio"), 12, 6, 5
WEIGHTS = {"lambda_proto": 0.5, "lambda_centroid": 2.0}
Views = tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]


def rows(seed: int, *, num_rows: int = NUM_ROWS) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(num_rows, WIDTH, generator=generator, dtype=torch.float64), dim=1).requires_grad_()


def views(num_rows: int = NUM_ROWS) -> Views:
    first, second, third, fourth = (rows(seed, num_rows=num_rows) for seed in range(4))
    return (first, second), (third, fourth)


def assigned(num_rows: int = NUM_ROWS) -> dict[str, Tensor]:
    return {m: torch.arange(num_rows) * (n + 1) % NUM_PROTOTYPES for n, m in enumerate(MODALITIES)}


def objective(kind: str, **given: float) -> MmsslObjective:
    """With prototypes that take part: those that are fitted have been fitted."""
    proto = PROTOTYPES[kind](num_prototypes=NUM_PROTOTYPES)
    torch.manual_seed(1)
    made = MmsslObjective(MmsslSpec(proto=proto, **{**WEIGHTS, **given}), MODALITIES, WIDTH).double()
    for seed, prototypes in enumerate(made.proto.values()):
        if hasattr(prototypes, "refit"):
            prototypes.refit(rows(9 + seed, num_rows=40).detach())  # pyright: ignore[reportCallIssue]
    return made


@every_kind
def test_the_order_of_samples_does_not_matter(kind):
    order = torch.randperm(NUM_ROWS, generator=torch.Generator().manual_seed(2))
    (v1, a1), (v2, a2) = views()
    _, expected = objective(kind)((v1, a1), (v2, a2), assigned())
    moved = {m: found[order] for m, found in assigned().items()}
    _, parts = objective(kind)((v1[order], a1[order]), (v2[order], a2[order]), moved)
    for name, part in parts.items():
        torch.testing.assert_close(part, expected[name][order] if part.ndim else expected[name], msg=name)


@every_kind
def test_the_order_of_the_two_views_does_not_matter(kind):
    first, second = views()
    expected, _ = objective(kind)(first, second, assigned())
    torch.testing.assert_close(objective(kind)(second, first, assigned())[0], expected)


@every_kind
def test_every_embedding_gets_a_finite_gradient(kind):
    given = views()
    loss, parts = objective(kind)(*given, assigned())
    loss.backward()
    assert all(torch.isfinite(part).all() and not part.requires_grad for part in parts.values())
    for view in given:
        for embedding in view:
            assert embedding.grad is not None
            assert torch.isfinite(embedding.grad).all()
            assert (embedding.grad.norm(dim=1) > 0).all()


@every_kind
def test_every_part_counts_by_its_weight_alone(kind):
    given, places = views(), assigned()
    whole, parts = objective(kind)(*given, places)
    assert all((part.abs() > 1e-6).all() for part in parts.values()), "a part that is 0 shows nothing"
    for weight, part in (("lambda_proto", "proto"), ("lambda_centroid", "centroid")):
        without, _ = objective(kind, **{weight: 0.0})(*given, places)
        torch.testing.assert_close(whole - without, WEIGHTS[weight] * parts[part])


@every_kind
@pytest.mark.parametrize("weight", WEIGHTS)
def test_every_part_moves_every_embedding(kind, weight):
    given = [embedding for view in views() for embedding in view]
    with_it, without = (
        torch.autograd.grad(objective(kind, **{weight: value})(given[:2], given[2:], assigned())[0], given)
        for value in (1.0, 0.0)
    )
    for more, less in zip(with_it, without, strict=True):
        assert ((more - less).norm(dim=1) > 1e-9).all()


@every_kind
def test_a_batch_of_one_and_one_of_copies_are_finite(kind):
    for num_rows in (1, NUM_ROWS):
        one = torch.ones(num_rows, WIDTH, dtype=torch.float64) / WIDTH**0.5
        given = one.clone().requires_grad_()
        loss, _ = objective(kind)((given, given), (given, given), assigned(num_rows))
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(given.grad).all()


@every_kind
def test_prototypes_are_unit_rows_and_the_steps_around_them_exist(kind):
    made = objective(kind)
    made.before_step()
    for modality in MODALITIES:
        found_KD = made.prototypes_of(modality)
        assert found_KD.shape == (NUM_PROTOTYPES, WIDTH)
        torch.testing.assert_close(found_KD.norm(dim=1), torch.ones(NUM_PROTOTYPES, dtype=torch.float64))
        assert not found_KD.requires_grad
    made.after_step()
    assert {id(p) for p in made.frozen_parameters(0)} <= {id(p) for p in made.parameters()}


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_a_loss_says_what_it_is_and_has_a_reference_in_float64(name):
    assert (import_module(f"{losses.__name__}.{name}").__doc__ or "").strip()
    test = Path(__file__).with_name(f"test_{name}.py")
    assert test.exists(), f"write {test.name}, with an independent reference in float64"
    assert "float64" in test.read_text(), f"{test.name}: compare with a reference in float64"


@every_kind
def test_two_workers_have_a_case(kind):
    script = (Path(__file__).parents[1] / "training" / "two_workers.py").read_text()
    default = kind == MmsslSpec().proto.kind
    assert default or f'"kind": "{kind}"' in script, f"tests/training/two_workers.py: add a case of {kind!r} to CASES"
