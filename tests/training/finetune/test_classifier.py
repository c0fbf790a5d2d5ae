from functools import partial

import pytest
import torch
import torch.nn.functional as F

from mmcsal.contracts.errors import MmcsalError
from mmcsal.models import ModelSpec, build_model
from mmcsal.models.encoders.video.tiny import TinyVideoSpec
from mmcsal.models.fusion import FusionClassifier, Logits
from mmcsal.training.augment import AugmentSpec
from mmcsal.training.data import ClipBatches
from mmcsal.training.finetune.classifier import (
    FinetuneState,
    answers,
    figures_of,
    finetune_epoch,
    finetune_step,
    load_classifier,
)
from mmcsal.training.finetune.spec import FinetuneSpec
from tests.training.same import assert_same

MODEL = ModelSpec(video=TinyVideoSpec(frame_size_px=16))
PLAIN = AugmentSpec(
    min_crop=1, flip=False, brightness=0, contrast=0, min_duration=1, gain_db=0, max_noise=0, jitter_s=0
)  # fmt: skip
SPEC = FinetuneSpec(epochs=4, batch_size=8, gradient_clip_norm=1e9)
IDS = [f"s{i}" for i in range(24)]
LABEL_OF = {sample_id: n % 3 for n, sample_id in enumerate(IDS)}
HELD_OUT = IDS[::5]


@pytest.fixture
def batches(clip_files, filesystem):
    files = clip_files([[*IDS[:9], "s90"], IDS[9:], ["s91"]])
    return ClipBatches(files, filesystem, SPEC, seed=0, gray=True, only=IDS, held_out=HELD_OUT)


@pytest.fixture
def fresh(batches):
    def make(spec: FinetuneSpec = SPEC, **options) -> FinetuneState:
        return FinetuneState(spec, MODEL, 3, seed=0, steps_per_epoch=batches.steps_per_epoch, **options)

    return make


def train(state: FinetuneState, batches: ClipBatches, num_epochs: int) -> list[float]:
    return [finetune_epoch(state, batches, LABEL_OF)["loss"] for _ in range(num_epochs)]


def test_a_step_has_the_gradients_of_the_formula(batches, fresh):
    """d loss / d logits = (p - y) / B, written out; encoders by the chain rule from the layer on both alone."""
    state = fresh(SPEC.model_copy(update={"augment": PLAIN}))
    first, second = list(batches.epoch(0))[:2]
    figures = finetune_step(state, first, LABEL_OF)
    assert figures["loss"] == pytest.approx(torch.tensor(3.0).log().item()), "the layers begin at zero"
    model = state.model
    video_BC = model.video_encoder(second.video_BTHWC / 255)
    audio_BC = model.audio_encoder(second.audio_BL / 32768)
    weight = {name: getattr(model, name).weight.detach().clone() for name in ("both", "video", "audio")}
    bias = {name: getattr(model, name).bias.detach().clone() for name in weight}
    target_BC = F.one_hot(torch.tensor([LABEL_OF[i] for i in second.sample_ids]), 3).float()
    seen = {"both": torch.cat((video_BC, audio_BC), dim=1), "video": video_BC, "audio": audio_BC}
    error = {n: ((x.detach() @ weight[n].T + bias[n]).softmax(1) - target_BC) / len(target_BC) for n, x in seen.items()}
    encoders = {n: p for n, p in model.named_parameters() if "_encoder." in n}
    expected = torch.autograd.grad(seen["both"], list(encoders.values()), error["both"] @ weight["both"])
    finetune_step(state, second, LABEL_OF)
    for name, x_BC in seen.items():
        torch.testing.assert_close(getattr(model, name).weight.grad, error[name].T @ x_BC.detach())
        torch.testing.assert_close(getattr(model, name).bias.grad, error[name].sum(dim=0))
    for (name, parameter), gradient in zip(encoders.items(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, msg=lambda m, n=name: f"{n}: {m}", rtol=1e-3, atol=1e-7)


def test_the_loss_falls_and_the_saved_classifier_gives_the_same_answers(batches, fresh, tmp_path):
    state = fresh(SPEC.model_copy(update={"epochs": 8, "augment": PLAIN}))
    losses = train(state, batches, 8)
    assert state.done
    assert losses[-1] < 0.5 * losses[0]
    torch.save(state.classifier_dict(("a", "b", "c")), tmp_path / "classifier.pt")
    model, classes = load_classifier(torch.load(tmp_path / "classifier.pt", weights_only=True))
    assert classes == ("a", "b", "c")
    found, expected = (answers(each, batches.fixed_sample(24)) for each in (model, state.model))
    assert_same(found, expected)
    assert state.model.training
    assert (found.both.argmax(dim=1) != found.video.argmax(dim=1)).any()


def test_the_layers_on_one_modality_learn_and_do_not_steer_the_rest(batches, fresh):
    """Other layers beside, whose gradients are large: neither they nor the clipping of norms reach the encoders."""
    clipped = partial(fresh, SPEC.model_copy(update={"gradient_clip_norm": 0.05}))
    plain, other = clipped(), clipped()
    with torch.no_grad():
        for layer in (other.model.video, other.model.audio):
            layer.weight.normal_(std=3)
    start = other.model.video.weight.detach().clone()
    for state in (plain, other):
        train(state, batches, 2)
    assert not torch.equal(other.model.video.weight, start)
    alike = ("video_encoder.", "audio_encoder.", "both.")
    for name, parameter in plain.model.named_parameters():
        if name.startswith(alike):
            assert torch.equal(parameter, other.model.get_parameter(name)), name


def test_resume_is_bitwise_equal(batches, fresh, tmp_path):
    straight = fresh()
    train(straight, batches, 2)
    torch.save(straight.state_dict(), tmp_path / "state.pt")
    resumed = fresh()
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    torch.manual_seed(99)  # whatever else drew from the global generator
    for state in (straight, resumed):
        train(state, batches, 2)
        assert state.done
    assert_same(resumed.state_dict(), straight.state_dict())


def test_training_begins_with_the_pretrained_encoders_and_may_leave_them_alone(batches, fresh):
    given = build_model(MODEL, seed=7)
    pretrained = {"model": given.state_dict(), "model_spec": MODEL.model_dump(mode="json"), "centroids": {}}
    frozen = SPEC.model_copy(update={"encoder_learning_rate": 0.0})
    state, moving, drawn = fresh(frozen, pretrained=pretrained), fresh(pretrained=pretrained), fresh()
    for each in (state, moving):
        train(each, batches, 1)
    for name, parameter in given.named_parameters():
        if "_encoder." in name:
            assert torch.equal(state.model.get_parameter(name), parameter), name
            assert not torch.equal(moving.model.get_parameter(name), parameter), name
    assert not torch.equal(drawn.model.audio_encoder.place.weight, given.audio_encoder.place.weight)


def test_a_gradient_that_is_not_finite_is_told_before_it_reaches_the_weights(batches, fresh):
    state = fresh()
    state.model.both.bias.data[0] = torch.nan
    before = state.model.video_encoder.place.weight.detach().clone()
    with pytest.raises(MmcsalError, match=r"lower finetune.learning_rate \(now 0.01\)"):
        finetune_step(state, next(batches.epoch(0)), LABEL_OF)
    assert torch.equal(state.model.video_encoder.place.weight, before)


def test_figures_of_answers():
    """Four samples of classes a, a, b, b; c and d never occur."""
    guesses = {"both": [0, 1, 1, 1], "video": [0, 0, 1, 1], "audio": [2, 2, 2, 1]}
    logits = Logits(**{name: 9.0 * F.one_hot(torch.tensor(guess), 4) for name, guess in guesses.items()})
    figures = figures_of(logits, torch.tensor([0, 0, 1, 1]), ("a", "b", "c", "d"))
    assert (figures["accuracy"], figures["accuracy_video"], figures["accuracy_audio"]) == (0.75, 1.0, 0.25)
    assert {n: v for n, v in figures.items() if n.startswith("recall")} == {"recall_of:a": 0.5, "recall_of:b": 1.0}
    assert figures["macro_f1"] == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert figures["calibration_error"] == pytest.approx(0.25, abs=1e-3)


def test_a_worker_without_clips_gives_no_answers():
    model = FusionClassifier(build_model(MODEL, seed=0), 3)
    assert [x.shape for x in answers(model, [])] == [(0, 3)] * 3
