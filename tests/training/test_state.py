from functools import partial

import pytest
import torch

from mmcsal.contracts.errors import InputError, MmcsalError
from mmcsal.models import ModelSpec
from mmcsal.models.encoders.video.tiny import TinyVideoSpec
from mmcsal.training.best import BestSpec
from mmcsal.training.calibrate import calibrate_norms
from mmcsal.training.data import ClipBatches
from mmcsal.training.embed import embed_clips, encode_batches
from mmcsal.training.epoch import train_epoch
from mmcsal.training.evaluate import evaluate, measure_centroids
from mmcsal.training.spec import PretrainSpec
from mmcsal.training.state import TrainState, load_model
from mmcsal.training.step import train_step
from tests.training.same import assert_same

SPEC = PretrainSpec(epochs=2, batch_size=6)
MODEL = ModelSpec(video=TinyVideoSpec(frame_size_px=16))


@pytest.fixture
def batches(clip_files, filesystem):
    ids = [f"s{i}" for i in range(20)]
    return ClipBatches(clip_files([ids[:7], ids[7:]]), filesystem, SPEC, seed=0, gray=True)


def fresh(batches: ClipBatches, spec: PretrainSpec = SPEC, seed: int = 0) -> TrainState:
    counts = {"steps_per_epoch": batches.steps_per_epoch, "num_clips": batches.num_clips}
    return TrainState(spec, MODEL, seed=seed, **counts)


def reloaded(state: TrainState, batches: ClipBatches, path) -> TrainState:
    torch.save(state.state_dict(), path)
    other = fresh(batches)
    other.load_state_dict(torch.load(path, weights_only=True))
    return other


def test_resume_after_an_epoch_is_bitwise_equal(batches, tmp_path):
    straight = fresh(batches)
    train_epoch(straight, batches)
    resumed = reloaded(straight, batches, tmp_path / "state.pt")
    torch.manual_seed(99)  # whatever else drew from the global generator
    for state in (straight, resumed):
        train_epoch(state, batches)
        assert state.done
    assert_same(resumed.state_dict(), straight.state_dict())


def test_resume_in_the_middle_of_an_epoch_is_bitwise_equal(batches, tmp_path):
    straight, stopped = fresh(batches), fresh(batches)
    expected = train_epoch(straight, batches)
    for batch in list(batches.epoch(0))[:2]:
        train_step(stopped, batch)
    resumed = reloaded(stopped, batches, tmp_path / "state.pt")
    assert (resumed.epoch, resumed.step_in_epoch) == (0, 2)
    figures = train_epoch(resumed, batches)
    assert_same(resumed.state_dict(), straight.state_dict())
    timed = {"steps_per_s", "data_wait_share"}
    told = {name: value for name, value in figures.items() if name not in timed}
    assert told == {name: value for name, value in expected.items() if name not in timed}, "means over all steps"


def test_training_changes_weights_and_prototypes_only_after_their_frozen_epoch(batches):
    state = fresh(batches)
    start = {n: p.detach().clone() for n, p in state.module.named_parameters()}
    figures = train_epoch(state, batches)
    assert 0 <= figures["data_wait_share"] <= 1
    for name, parameter in state.module.named_parameters():
        if "prototypes" in name:
            torch.testing.assert_close(parameter.detach(), start[name], msg="frozen in epoch 0")
        else:
            assert not torch.equal(parameter, start[name]), name
    train_epoch(state, batches)
    moved = state.module.objective.prototypes_of("video")
    assert (moved - start["objective.proto.video.prototypes"]).abs().max() > 1e-3


def test_equal_seeds_start_equal_and_leave_the_global_generator_alone(batches):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    assert_same(fresh(batches).state_dict(), fresh(batches).state_dict())
    assert torch.equal(torch.rand(3), expected)
    first, other = (next(fresh(batches, seed=s).module.parameters()) for s in (0, 1))
    assert not torch.equal(first, other)


def test_weight_decay_spares_norms_biases_scale_and_prototypes(batches):
    spec = PretrainSpec(objective={"preset": "paper"})
    state = fresh(batches, spec)
    decayed = {id(p) for p in state.optimizer.param_groups[0]["params"]}
    spared = {n for n, p in state.module.named_parameters() if id(p) not in decayed}
    assert {"objective.cross.log_scale", "objective.proto.audio.prototypes"} <= spared
    assert {"model.video_head.norm.weight", "model.video_head.output.bias"} <= spared
    assert "model.video_head.output.weight" not in spared
    assert len(decayed) + len(spared) == len(list(state.module.parameters()))


def test_learned_temperature_moves_and_is_saved(batches, tmp_path):
    state = fresh(batches, PretrainSpec(epochs=2, batch_size=6, objective={"preset": "paper"}))
    figures = train_epoch(state, batches)
    assert figures["temperature"] != pytest.approx(0.07, abs=1e-6)
    assert "objective.cross.log_scale" in state.state_dict()["module"]


@pytest.mark.parametrize(
    "other", [PretrainSpec(epochs=3, batch_size=6), PretrainSpec(epochs=2, batch_size=6, weight_decay=0)]
)
def test_checkpoint_of_another_configuration_is_refused(batches, other):
    with pytest.raises(InputError, match="another configuration"):
        fresh(batches, other).load_state_dict(fresh(batches).state_dict())
    with pytest.raises(InputError, match="seed 0, this run 1"):
        fresh(batches, seed=1).load_state_dict(fresh(batches).state_dict())


def test_number_of_workers_may_change_on_resume(batches):
    spec = PretrainSpec(epochs=2, batch_size=6, num_workers=2, threads_per_worker=3)
    fresh(batches, spec).load_state_dict(fresh(batches).state_dict())


def test_unequal_shares_are_refused_with_a_way_out():
    with pytest.raises(ValueError, match="use 60 or 66"):
        PretrainSpec(batch_size=64, num_workers=6)


def test_gradients_that_are_not_finite_stop_training_before_they_reach_the_weights(batches):
    state = fresh(batches)
    state.model.video_head.output.weight.data[0, 0] = torch.nan
    start = state.model.audio_head.output.weight.detach().clone()
    with pytest.raises(MmcsalError, match="not finite in epoch 0, step 0"):
        train_epoch(state, batches)
    assert torch.equal(state.model.audio_head.output.weight, start)


def test_model_and_centroids_come_back_from_the_checkpoint_alone(batches, tmp_path):
    state = fresh(batches)
    train_epoch(state, batches)
    measure_centroids(state, batches)
    torch.save(state.encoders_dict(), tmp_path / "state.pt")
    model, centroids = load_model(torch.load(tmp_path / "state.pt", weights_only=True))
    (clips,) = batches.fixed_sample(20)
    z_video_ND, z_audio_ND = embed_clips(model, clips.video_BTHWC, clips.audio_BL)
    expected = embed_clips(state.model, clips.video_BTHWC, clips.audio_BL, batch_size=3)
    torch.testing.assert_close((z_video_ND, z_audio_ND), expected)
    torch.testing.assert_close(z_video_ND.norm(dim=1), torch.ones(20))
    torch.testing.assert_close(centroids["audio"], z_audio_ND.mean(dim=0))


def test_calibrated_statistics_are_those_of_the_clips_and_training_does_not_notice(batches):
    state, other = fresh(batches), fresh(batches)
    train_epoch(state, batches)
    train_epoch(other, batches)
    calibrate_norms(state.model, encode_batches(state.model, batches.fixed_sample(16, chunk=5)))
    (clips,) = batches.fixed_sample(16)
    video = state.model.eval().video_encoder(clips.video_BTHWC.float() / 255)
    hidden = state.model.video_head.hidden(video).detach()
    torch.testing.assert_close(state.model.video_head.norm.running_mean, hidden.mean(dim=0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(state.model.video_head.norm.running_var, hidden.var(dim=0), rtol=1e-3, atol=1e-5)
    for each in (state, other):
        train_epoch(each, batches)
    assert_same(list(state.module.parameters()), list(other.module.parameters()))


def test_evaluation_tells_all_figures_and_changes_nothing(batches):
    state = fresh(batches)
    before = {k: v.clone() for k, v in state.module.state_dict().items()}
    state.module.train()
    features = encode_batches(state.encoders, batches.fixed_sample(16, chunk=5))
    figures = evaluate(state, features)
    assert state.module.training
    assert_same(state.module.state_dict(), before)
    assert {"gap", "alignment", "mix", "uniformity_video", "prototype_usage_audio"} <= figures.keys()
    assert all(isinstance(v, float) for v in figures.values())
    assert figures == evaluate(state, features)


def test_the_average_follows_the_weights_and_is_what_is_exported(batches):
    spec = SPEC.model_copy(update={"ema_decay": 0.8})
    state = fresh(batches, spec)
    expected = None
    for batch in batches.epoch(0):
        train_step(state, batch)
        weight = state.model.audio_head.output.weight.detach()
        expected = weight.clone() if expected is None else 0.8 * expected + 0.2 * weight
    found = state.encoders.audio_head.output.weight
    torch.testing.assert_close(found, expected)
    assert not torch.equal(found, weight)
    assert torch.equal(state.encoders_dict()["model"]["audio_head.output.weight"], found)


def test_without_an_average_the_weights_are_exported(batches):
    state = fresh(batches)
    assert state.encoders is state.model


@pytest.mark.parametrize("change", [{"precision": "bfloat16"}, {"channels_last": True}])
def test_half_precision_and_layout_train_about_the_same(change, batches):
    plain, other = fresh(batches), fresh(batches, SPEC.model_copy(update=change))
    assert train_epoch(other, batches)["loss"] == pytest.approx(train_epoch(plain, batches)["loss"], rel=0.02)
    weights = [p.dtype for p in other.module.parameters()]
    assert set(weights) == {torch.float32}


def test_bfloat16_reaches_the_encoders_and_ends_before_the_heads(batches):
    state = fresh(batches, SPEC.model_copy(update={"precision": "bfloat16"}))
    seen = {}
    state.model.video_encoder.place.register_forward_hook(lambda _, __, out: seen.update(encoder=out.dtype))
    state.model.video_head.output.register_forward_hook(lambda _, __, out: seen.update(head=out.dtype))
    train_step(state, next(batches.epoch(0)))
    assert seen == {"encoder": torch.bfloat16, "head": torch.float32}


def test_convolutions_are_laid_out_as_asked(batches):
    state = fresh(batches, SPEC.model_copy(update={"channels_last": True}))
    convolutions = [p for p in state.model.parameters() if p.ndim == 4 and min(p.shape[1:]) > 1]
    assert convolutions
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in convolutions)


def test_micro_batches_train_what_whole_batches_train(batches):
    """Also where the last piece is smaller: 12 rows of two views in pieces of 5."""
    whole, pieces = fresh(batches), fresh(batches, SPEC.model_copy(update={"micro_batch_size": 5}))
    for batch in batches.epoch(0):
        expected, found = train_step(whole, batch), train_step(pieces, batch)
        assert found["loss"] == pytest.approx(expected["loss"], rel=1e-4)
        assert found["gradient_norm"] == pytest.approx(expected["gradient_norm"], rel=1e-3)


def test_micro_batches_are_refused_where_they_would_change_the_result(batches):
    model = ModelSpec.model_validate({"video": {"kind": "resnet18", "norm": "batch"}, "audio": {"kind": "tiny"}})
    with pytest.raises(InputError, match=r"the video encoder .* model.video.norm=group"):
        TrainState(SPEC.model_copy(update={"micro_batch_size": 2}), model, seed=0, steps_per_epoch=1)


def test_training_ends_when_the_patience_is_spent(batches):
    state = fresh(batches, SPEC.model_copy(update={"best": BestSpec(patience_epochs=1)}))
    for epoch, loss in enumerate((2.0, 3.0)):
        assert not state.done
        state.best = state.best.after(epoch, {"eval_loss": loss}, state.spec.best)
    assert state.done


@pytest.mark.parametrize(
    ("low", "high", "told"), [(1, 3, "from 1 to 3"), (4, 2, "min_workers 4 exceeds"), (None, 5, "num_workers 5")]
)
def test_every_number_of_workers_that_may_come_needs_equal_shares(low, high, told):
    with pytest.raises(ValueError, match=told):
        PretrainSpec(batch_size=32, num_workers=high, min_workers=low)


def test_lanes_that_do_not_fit_are_told():
    with pytest.raises(ValueError, match="num_lanes 5 must divide batch_size 32"):
        PretrainSpec(batch_size=32, num_lanes=5)
    with pytest.raises(ValueError, match="use num_lanes=16"):
        PretrainSpec(batch_size=32, num_workers=16)
    assert PretrainSpec(batch_size=32, num_workers=16, num_lanes=16).lanes == 16


def test_labels_are_reported_where_there_are_enough(batches):
    state = fresh(batches)
    features = encode_batches(state.encoders, batches.fixed_sample(20))
    labels_N = torch.arange(20) // 2 % 2
    assert "knn_joint" in evaluate(state, features, labels_N)
    for too_few in (torch.where(torch.arange(20) < 19, labels_N, -1), torch.zeros(20, dtype=torch.int64), None):
        assert "knn_joint" not in evaluate(state, features, too_few)
    figures = evaluate(state, features, labels_N)
    assert {"nmi_joint", "knn_video_to_audio", "linear_video", "class_recall_at_1_audio_to_video"} <= figures.keys()


def test_prototypes_and_the_shift_are_measured_side_by_side(batches):
    state = fresh(batches)
    compared = measure_centroids(state, batches)
    assert compared["shifted"]["gap"] < 0.2 * compared["trained"]["gap"]
    centroids = {m: c.clone() for m, c in state.centroids.items()}
    measure_centroids(state, batches, max_clips=7)
    assert not torch.equal(state.centroids["video"], centroids["video"])


def test_compiled_encoders_train_what_plain_ones_train_and_keep_their_names(batches, monkeypatch):
    """Traced for real, forward and backward; without the C++ that the default backend would spend minutes on."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    plain, compiled = fresh(batches), fresh(batches, SPEC.model_copy(update={"compile": True}))
    for batch in list(batches.epoch(0))[:2]:
        assert train_step(compiled, batch)["loss"] == pytest.approx(train_step(plain, batch)["loss"], rel=1e-4)
    assert compiled.module.state_dict().keys() == plain.module.state_dict().keys()


def test_every_clip_of_an_epoch_is_counted_once_whatever_stopped_it(batches, tmp_path):
    stopped = fresh(batches)
    for batch in list(batches.epoch(0))[:2]:
        train_step(stopped, batch)
    resumed = reloaded(stopped, batches, tmp_path / "state.pt")
    train_epoch(resumed, batches)
    seen = [sample_id for batch in batches.epoch(0) for sample_id in batch.sample_ids]
    expected = [seen.count(sample_id) for sample_id in batches.sample_ids]
    assert resumed.dynamics.num_seen_N.tolist() == expected
    assert (resumed.dynamics.mean_log_p_N[resumed.dynamics.num_seen_N > 0] < 0).all()


def test_without_decoys_settings_are_what_they_were_before_there_were_any():
    assert "decoys" not in SPEC.settings()
    decoys = PretrainSpec(decoys={"share": 0.04}).settings()["decoys"]
    assert decoys == {"share": 0.04, "max": 1024}
