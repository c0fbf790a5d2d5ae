import numpy as np
import pytest

from mmcsal.contracts.ids import hash_ids
from mmcsal.training.data import ClipBatches
from mmcsal.training.evidence.decoys import SALT, DecoySpec, choose_decoys
from mmcsal.training.spec import PretrainSpec
from tests.training.clips import make_clips

IDS = [np.array([f"s{100 * p + i}" for i in range(n)], object) for p, n in enumerate((60, 40, 1, 25))]
ALL = [np.arange(len(ids)) for ids in IDS]


def decoys_of(partner_N: np.ndarray) -> np.ndarray:
    return np.flatnonzero(partner_N != np.arange(len(partner_N)))


def test_the_samples_of_lowest_hash_pass_their_sounds_round_in_one_cycle():
    found = choose_decoys(IDS, ALL, DecoySpec(share=0.1))
    assert {p: len(decoys_of(partner_N)) for p, partner_N in found.items()} == {0: 6, 1: 4, 3: 2}
    for p, partner_N in found.items():
        assert sorted(partner_N) == list(range(len(IDS[p]))), "every sound is heard once"
        lowest = np.argsort(hash_ids(IDS[p], salt=SALT))[: len(decoys_of(partner_N))]
        assert set(decoys_of(partner_N)) == set(lowest)
        at, seen = lowest[0], []
        while at not in seen:
            seen.append(at)
            at = partner_N[at]
        assert len(seen) == len(lowest), "one cycle, not several"


def test_the_cap_is_kept_and_a_partition_that_has_decoys_does_not_depend_on_the_order_of_partitions():
    spec = DecoySpec(share=0.1, max=7)
    found = choose_decoys(IDS, ALL, spec)
    assert sum(len(decoys_of(partner_N)) for partner_N in found.values()) <= 7
    turned = choose_decoys(IDS[::-1], ALL[::-1], spec)
    assert {3 - p: partner_N.tolist() for p, partner_N in turned.items()} == {p: x.tolist() for p, x in found.items()}


def test_without_a_share_there_are_none_and_what_is_not_trained_on_is_no_decoy():
    assert choose_decoys(IDS, ALL, DecoySpec(share=0)) == {}
    trained = [places[::2] for places in ALL]
    found = choose_decoys(IDS, trained, DecoySpec(share=0.2))
    assert found
    assert all(set(decoys_of(partner_N)) <= set(trained[p]) for p, partner_N in found.items())


@pytest.fixture
def batches(clip_files, filesystem) -> ClipBatches:
    spec = PretrainSpec(batch_size=8, decoys=DecoySpec(share=0.1))
    files = clip_files([[f"s{i}" for i in range(40)], [f"s{i}" for i in range(40, 64)]])
    return ClipBatches(files, filesystem, spec, seed=0)


def test_an_epoch_gives_a_decoy_its_partners_sound_and_everything_else_its_own(batches):
    partner_id_of = batches.partner_id_of
    assert len(partner_id_of) == 4 + 2
    seen = []
    for batch in batches.epoch(0):
        heard = [partner_id_of.get(i, i) for i in batch.sample_ids]
        assert batch.audio_ids == heard
        assert batch.audio_BL.numpy().tobytes() == b"".join(make_clips(heard)["audio"].to_pylist())
        assert batch.video_BTHWC.numpy().tobytes() == b"".join(make_clips(batch.sample_ids)["video"].to_pylist())
        assert batches.sample_ids[batch.place_B.numpy()].tolist() == batch.sample_ids
        seen += batch.sample_ids
    assert set(partner_id_of) <= set(seen)


def test_workers_share_out_the_same_decoys(batches):
    whole = [batch.audio_ids for batch in batches.epoch(1)]
    shares = [[batch.audio_ids for batch in batches.epoch(1, rank=r, num_workers=2)] for r in range(2)]
    assert [a + b for a, b in zip(*shares, strict=True)] == whole


def test_what_is_measured_or_embedded_has_its_own_sound(batches):
    for batch in (*batches.fixed_sample(64), *batches.share_of_all(0, 1)):
        assert batch.audio_ids == batch.sample_ids
        assert batch.audio_BL.numpy().tobytes() == b"".join(make_clips(batch.sample_ids)["audio"].to_pylist())
