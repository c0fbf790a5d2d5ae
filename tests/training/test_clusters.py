import torch

from mmcsal.models import ModelSpec
from mmcsal.models.encoders.video.tiny import TinyVideoSpec
from mmcsal.training.clusters import Assignments, refit_prototypes
from mmcsal.training.data import ClipBatches
from mmcsal.training.embed import embed_batches
from mmcsal.training.epoch import train_epoch
from mmcsal.training.spec import PretrainSpec
from mmcsal.training.state import TrainState

MODEL = ModelSpec(video=TinyVideoSpec(frame_size_px=16))
PROTO = {"kind": "pcl", "num_prototypes": 4, "start_epoch": 1}
SPEC = PretrainSpec(epochs=3, batch_size=6, objective={"proto": PROTO})
IDS = [f"s{i}" for i in range(20)]


def fresh(batches: ClipBatches, spec: PretrainSpec = SPEC) -> TrainState:
    return TrainState(spec, MODEL, seed=0, steps_per_epoch=batches.steps_per_epoch)


def read(clip_files, filesystem, spec: PretrainSpec = SPEC) -> ClipBatches:
    return ClipBatches(clip_files([IDS[:7], IDS[7:]]), filesystem, spec, seed=0, gray=True)


def test_every_sample_is_assigned_to_its_nearest_centre(clip_files, filesystem):
    batches = read(clip_files, filesystem)
    state = fresh(batches)
    assignments = refit_prototypes(state.module.objective, state.model, batches)
    ids = list(batches.sample_ids)
    found = assignments.of({"video": ids, "audio": ids}, torch.device("cpu"))
    z = dict(zip(("video", "audio"), embed_batches(state.model, batches.share_of_all(0, 1)), strict=True))
    for modality in ("video", "audio"):
        centre_KD = state.module.objective.prototypes_of(modality)
        assert centre_KD.shape == (4, 128)
        torch.testing.assert_close(found[modality], (z[modality] @ centre_KD.T).argmax(dim=1))
    assert (assignments.hash_N.diff() > 0).all()


def test_a_sample_that_is_not_known_has_no_prototype():
    assignments = Assignments(torch.tensor([], dtype=torch.int64), {"video": torch.tensor([], dtype=torch.int32)})
    assert assignments.of({"video": ["new"]}, torch.device("cpu"))["video"].tolist() == [-1]


def test_centres_are_fitted_on_as_many_samples_as_asked_for(clip_files, filesystem):
    few = SPEC.model_copy(
        update={"objective": SPEC.objective.model_validate({"proto": {**PROTO, "max_kmeans_rows": 5}})}
    )
    batches = read(clip_files, filesystem, few)
    state = fresh(batches, few)
    seen = []
    prototypes = state.module.objective.proto["video"]
    refit = prototypes.refit

    def watched(x_ND: torch.Tensor) -> None:
        seen.append(len(x_ND))
        refit(x_ND)

    prototypes.refit = watched
    assert len(refit_prototypes(state.module.objective, state.model, batches).hash_N) == 20
    assert seen == [5]


def test_prototypes_join_in_their_epoch_and_are_fitted_again_in_each(clip_files, filesystem):
    batches = read(clip_files, filesystem)
    state = fresh(batches)
    assert train_epoch(state, batches)["proto"] == 0.0
    assert state.module.objective.prototypes_of("video") is None
    assert train_epoch(state, batches)["proto"] > 0.1
    before = state.module.objective.prototypes_of("video").clone()
    train_epoch(state, batches)
    assert not torch.equal(state.module.objective.prototypes_of("video"), before)
