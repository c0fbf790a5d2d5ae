"""The plan of a synthetic corpus: its promises for every spec, and its shares on the default one."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcsal.contracts.reject import Reason
from mmcsal.datasets import SyntheticSpec
from mmcsal.datasets.synthetic.corpus import truth_table
from mmcsal.datasets.synthetic.plan import NUM_CLASSES, count_classes


def _plan_of(**options) -> list[dict]:
    return truth_table(SyntheticSpec(path="unused", **options)).to_pylist()


@settings(max_examples=40, deadline=None)
@given(
    num_clips=st.integers(2, 120),
    num_broken=st.integers(0, 20),
    seed=st.integers(0, 2**32 - 1),
    misaligned_fraction=st.floats(0, 1),
    near_duplicate_fraction=st.floats(0, 0.9),
    long_tail_ratio=st.floats(1, 100),
)
def test_every_plan_keeps_its_promises(num_clips, num_broken, **options):
    rows = {r["sample_id"]: r for r in _plan_of(num_clips=num_clips, num_broken=num_broken, **options)}
    whole = {k: r for k, r in rows.items() if not r["broken"]}
    assert list(rows) == [f"clip-{i:06d}.mp4" for i in range(num_clips + num_broken)]
    assert len(whole) == num_clips
    assert sum(not r["aligned"] for r in whole.values()) <= round(options["misaligned_fraction"] * num_clips)
    for row in whole.values():
        assert row["aligned"] == (row["audio_class_id"] == row["class_id"]) == (row["audio_of"] is None)
        assert 1 <= row["tempo_hz"] <= 1.85 or 2.15 <= row["tempo_hz"] <= 3
        if row["audio_of"]:
            assert whole[row["audio_of"]]["class_id"] == row["audio_class_id"]
        if row["near_duplicate_of"]:
            original = whole[row["near_duplicate_of"]]
            assert original["near_duplicate_of"] is None
            same = ("class_id", "tempo_hz", "phase", "aligned", "audio_of")
            assert [original[k] for k in same] == [row[k] for k in same]


@settings(max_examples=60, deadline=None)
@given(num_clips=st.integers(1, 3000), ratio=st.floats(1, 1000))
def test_class_counts_fall_add_up_and_leave_no_class_out(num_clips, ratio):
    counts = count_classes(num_clips, ratio)
    assert sum(counts) == num_clips
    assert len(counts) == min(num_clips, NUM_CLASSES)
    assert min(counts) >= 1
    if num_clips >= NUM_CLASSES:
        assert counts == sorted(counts, reverse=True)


@pytest.mark.parametrize("ratio", [1.0, 10.0])
def test_long_tail_ratio_is_that_of_the_most_to_the_least_frequent_class(ratio):
    counts = Counter(r["class_id"] for r in _plan_of(num_clips=3200, num_broken=0, long_tail_ratio=ratio))
    assert len(counts) == 16
    assert max(counts.values()) / min(counts.values()) == pytest.approx(ratio, rel=0.03)


def test_shares_of_misaligned_pairs_and_near_duplicates_are_exact_on_the_default_corpus():
    rows = [r for r in _plan_of() if not r["broken"]]
    assert len(rows) == 320
    assert Counter(r["class_id"] for r in rows) == dict.fromkeys(range(16), 20)
    assert sum(not r["aligned"] for r in rows) == 32
    assert sum(r["near_duplicate_of"] is not None for r in rows) == 16


def test_a_clip_is_drawn_from_its_seed_and_index_alone():
    few = {r["sample_id"]: r["tempo_hz"] for r in _plan_of(num_clips=20, num_broken=0, near_duplicate_fraction=0)}
    many = {r["sample_id"]: r["tempo_hz"] for r in _plan_of(num_clips=40, num_broken=0, near_duplicate_fraction=0)}
    assert few.items() <= many.items()


def test_spec_refuses_what_cannot_be_rendered():
    with pytest.raises(ValueError, match="multiple of 2"):
        SyntheticSpec(path="x", frame_size_px=113)
    with pytest.raises(ValueError, match="another class"):
        SyntheticSpec(path="x", num_clips=1, misaligned_fraction=1)


def test_seven_broken_files_cover_every_reason_that_a_folder_can_hold():
    reasons = {r["expected_reason"] for r in _plan_of(num_broken=7) if r["broken"]}
    of_vectors = {"missing_modality", "zero_vector", "not_finite"}  # what `select` may say of embeddings
    of_others = {"bad_name", "unreadable_folder", "too_large", "changed"}
    assert reasons == {r.value for r in Reason} - {"missing_file", "timeout", "crash"} - of_vectors - of_others
