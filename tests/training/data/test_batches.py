from itertools import chain

import numpy as np
import pytest

from mmcsal.contracts.errors import InputError
from mmcsal.contracts.ids import order_by_hash
from mmcsal.training.data import ClipBatches, reading
from mmcsal.training.spec import PretrainSpec

IDS = [f"s{i}" for i in range(53)]
PARTITIONS = [IDS[0:10], IDS[10:17], [], IDS[17:40], IDS[40:53]]
MANY = [[f"s{16 * p + i}" for i in range(16)] for p in range(12)]


def ids_of(batches: ClipBatches, epoch: int, **kwargs) -> list[list[str]]:
    return [b.sample_ids for b in batches.epoch(epoch, **kwargs)]


def spec(**kwargs) -> PretrainSpec:
    return PretrainSpec(**{"batch_size": 8, **kwargs})


def test_an_epoch_holds_every_clip_at_most_once_and_only_the_tail_is_dropped(clip_files, filesystem):
    batches = ClipBatches(clip_files(PARTITIONS), filesystem, spec(), seed=0)
    assert (batches.num_clips, batches.batch_size, batches.steps_per_epoch) == (53, 8, 6)
    epochs = [list(chain(*ids_of(batches, e))) for e in range(6)]
    assert all(len(e) == len(set(e)) == 48 for e in epochs)
    assert len({frozenset(IDS) - frozenset(e) for e in epochs}) > 1, "the dropped tail differs from epoch to epoch"
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize("num_workers", [2, 4])
def test_workers_share_out_the_same_global_batches(num_workers, clip_files, filesystem):
    batches = ClipBatches(clip_files(PARTITIONS), filesystem, spec(), seed=3)
    whole = ids_of(batches, 2)
    by_worker = [ids_of(batches, 2, rank=r, num_workers=num_workers) for r in range(num_workers)]
    assert [list(chain(*shares)) for shares in zip(*by_worker, strict=True)] == whole


@pytest.mark.parametrize("shuffle_buffer_bytes", [1, 200_000, 2**30])
def test_order_depends_on_the_corpus_not_on_how_it_is_listed_or_stored(shuffle_buffer_bytes, clip_files, filesystem):
    wanted = spec(shuffle_buffer_bytes=shuffle_buffer_bytes)
    expected = ids_of(ClipBatches(clip_files(PARTITIONS), filesystem, wanted, seed=0), 1)
    files = clip_files(PARTITIONS)
    assert ids_of(ClipBatches(files[::-1], filesystem, wanted, seed=0), 1) == expected
    renamed = clip_files([p[::-1] for p in PARTITIONS], "other", [f"{9 - i}.parquet" for i in range(5)])
    assert ids_of(ClipBatches(renamed, filesystem, wanted, seed=0), 1) == expected, "other names, other rows order"
    assert ids_of(ClipBatches(files, filesystem, wanted, seed=1), 1) != expected


def test_small_caches_change_nothing_but_memory(clip_files, filesystem):
    files = clip_files(MANY)
    small = ClipBatches(files, filesystem, spec(cache_bytes=1, shuffle_buffer_bytes=1, num_lanes=1), seed=0)
    expected = ids_of(ClipBatches(files, filesystem, spec(shuffle_buffer_bytes=1, num_lanes=1), seed=0), 0)
    assert ids_of(small, 0) == expected
    assert len(small._reader.cache) <= 3, "what one lane mixes, and its two neighbours"


@pytest.mark.parametrize("num_workers", [1, 2, 4])
def test_all_workers_together_read_the_corpus_about_once_an_epoch(num_workers, clip_files, filesystem, monkeypatch):
    """Before there were lanes, every worker read every file."""
    files, read, read_columns = clip_files(MANY), [], reading.read_columns

    def counted(path, *rest):
        read.append(path)
        return read_columns(path, *rest)

    monkeypatch.setattr(reading, "read_columns", counted)
    wanted = spec(cache_bytes=1, shuffle_buffer_bytes=1, num_lanes=4)
    for rank in range(num_workers):
        batches = ClipBatches(files, filesystem, wanted, seed=0, num_workers=num_workers)
        for _ in batches.epoch(0, rank=rank, num_workers=num_workers):
            pass
    # A partition on the border of two lanes is read by the workers of both.
    assert len(MANY) <= len(read) <= len(MANY) + 3


def test_a_lane_mixes_as_many_partitions_as_its_share_of_the_shuffle_buffer_holds(clip_files, filesystem):
    files = clip_files(MANY)
    for buffer_clips, at_most in ((1, 1), (40, 3)):
        clip_bytes = ClipBatches(files, filesystem, spec(), seed=0).clip_bytes
        batches = ClipBatches(
            files, filesystem, spec(shuffle_buffer_bytes=2 * buffer_clips * clip_bytes, num_lanes=2), seed=0
        )
        lane = batches.order(0)[:, :4].reshape(-1, 2)
        # Clips of one partition are spread over no more of the lane than the window that they were mixed in.
        span = max(np.ptp(np.flatnonzero(lane[:, 0] == p)) for p in np.unique(lane[:, 0]))
        assert span < at_most * 16
        assert not all((np.diff(lane[lane[:, 0] == p, 1]) > 0).all() for p in np.unique(lane[:, 0])), "rows are mixed"


def test_the_order_is_that_of_the_first_version(clip_files, filesystem):
    """Runs that stand in the middle of an epoch go on in it with a later version."""
    batches = ClipBatches(clip_files(PARTITIONS), filesystem, spec(shuffle_buffer_bytes=200_000), seed=0)
    assert [" ".join(ids) for ids in ids_of(batches, 1)] == [
        "s45 s50 s6 s8 s23 s31 s35 s14",
        "s41 s51 s2 s9 s22 s30 s37 s13",
        "s43 s49 s4 s20 s27 s29 s39 s16",
        "s42 s47 s5 s21 s26 s34 s36 s15",
        "s44 s48 s1 s17 s24 s33 s38 s12",
        "s46 s52 s7 s19 s28 s32 s10 s11",
    ]


def test_resume_in_an_epoch_goes_on_where_it_stopped(clip_files, filesystem):
    batches = ClipBatches(clip_files(PARTITIONS), filesystem, spec(), seed=0)
    assert ids_of(batches, 1, first_step=4) == ids_of(batches, 1)[4:]


def test_the_fixed_sample_is_the_same_in_any_order_of_files_and_fills_partitions(clip_files, filesystem):
    files = clip_files(PARTITIONS)
    whole = [p for p in PARTITIONS if p]
    first = [whole[i] for i in order_by_hash(min(p) for p in whole)]
    expected = [p[i] for p in map(sorted, first) for i in order_by_hash(p)]
    for listed in (files, files[::-1]):
        batches = ClipBatches(listed, filesystem, spec(), seed=0)
        assert [s for b in batches.fixed_sample(20, chunk=7) for s in b.sample_ids] == expected[:20]
    assert sum(len(b.sample_ids) for b in batches.fixed_sample(999)) == 53


def test_clips_that_are_held_out_are_measured_and_never_trained_on(clip_files, filesystem):
    batches = ClipBatches(clip_files(PARTITIONS), filesystem, spec(eval_samples=9, hold_out_eval=True), seed=0)
    held_out = {s for b in batches.fixed_sample(9) for s in b.sample_ids}
    seen = [set(chain(*ids_of(batches, epoch))) for epoch in range(8)]
    assert len(held_out) == 9
    assert not any(held_out & ids for ids in seen)
    assert set.union(*seen) == set(IDS) - held_out
    with pytest.raises(InputError, match="eval_samples to 26"):
        ClipBatches(clip_files(PARTITIONS), filesystem, spec(eval_samples=27, hold_out_eval=True), seed=0)


def test_of_some_clips_only_these_are_served_and_kept_in_memory(clip_files, clip_table, filesystem):
    """Also where the rows of a file are in no order, and where nothing of a file is wanted."""
    files = clip_files([PARTITIONS[0][::-1], *PARTITIONS[1:]])
    wanted, apart = [*IDS[1:10:2], *IDS[20:53:2]], IDS[20:30:2]
    batches = ClipBatches(files, filesystem, spec(), seed=0, only=wanted, held_out=apart)
    assert (batches.num_clips, batches.steps_per_epoch) == (22, 2)
    seen = [list(chain(*ids_of(batches, epoch))) for epoch in range(8)]
    assert set(chain(*seen)) == set(wanted) - set(apart)
    shares = [list(batches.share_of_held_out(rank, 2, chunk=2)) for rank in range(2)]
    assert [i for share in shares for batch in share for i in batch.sample_ids] == batches.held_out_ids
    assert sorted(batches.held_out_ids) == apart
    for batch in (*batches.epoch(0), *chain(*shares)):
        assert batch.video_BTHWC.numpy().tobytes() == b"".join(clip_table(batch.sample_ids)["video"].to_pylist())
    assert batches._reader.cache.num_bytes == 22 * batches.clip_bytes


def test_shares_of_all_clips_are_everything_once(clip_files, filesystem):
    batches = ClipBatches(clip_files(PARTITIONS), filesystem, spec(), seed=0)
    shares = [[s for b in batches.share_of_all(rank, 3, chunk=5) for s in b.sample_ids] for rank in range(3)]
    assert sorted(chain(*shares)) == sorted(IDS)
    assert [list(batches.sample_ids_of_share(rank, 3)) for rank in range(3)] == shares


def test_batch_shrinks_to_a_small_corpus(clip_files, filesystem):
    files = clip_files([IDS[:5], IDS[5:11]])
    assert ClipBatches(files, filesystem, spec(batch_size=64), seed=0).batch_size == 8, "whole lanes"
    assert ClipBatches(files, filesystem, spec(batch_size=64, num_lanes=16), seed=0).batch_size == 11
    assert ClipBatches(files, filesystem, spec(batch_size=64, num_lanes=16), seed=0, num_workers=2).batch_size == 10


def test_too_few_clips_are_told(clip_files, filesystem):
    with pytest.raises(InputError, match=r"3 clips .* at least 4"):
        ClipBatches(clip_files([IDS[:3]]), filesystem, spec(), seed=0, num_workers=2)
    with pytest.raises(InputError, match="0 clips"):
        ClipBatches([], filesystem, spec(), seed=0)
