import numpy as np
import pyarrow as pa
import pytest

from mmcsal.contracts.manifest import MANIFEST
from mmcsal.contracts.table import check_unique_ids, conform
from mmcsal.media.decode import Source, decode_clip
from mmcsal.media.segments import in_segments, lengths_s
from mmcsal.media.spec import MediaSpec
from mmcsal.storage.uri import StorageSpec
from tests.helpers import write_timed_clip

SPEC = MediaSpec(window="segments", window_s=2.0, num_frames=4, frame_size_px=32)


def manifest(**columns):
    num_rows = len(columns["sample_id"])
    return conform(pa.table({"source": ["folder"] * num_rows, **columns}), MANIFEST, name="m")


def test_a_long_sample_becomes_its_windows():
    table = in_segments(manifest(sample_id=["a", "b", "c"], uri=["a", "b", "c"]), [6.5, 3.9, None], 2.0)
    rows = [(r["sample_id"], r["start_s"], r["duration_s"], r["source"]) for r in table.to_pylist()]
    windows = [("a#0", 0.0, 2.0, "a"), ("a#2", 2.0, 2.0, "a"), ("a#4", 4.0, 2.0, "a")]
    assert rows == [*windows, ("b", None, None, "folder"), ("c", None, None, "folder")]
    assert table.schema == MANIFEST
    assert table["uri"].to_pylist() == ["a", "a", "a", "b", "c"]
    check_unique_ids(table["sample_id"], name="manifest")


def test_a_part_of_a_file_is_cut_from_its_own_beginning():
    table = in_segments(manifest(sample_id=["a"], start_s=[10.25], duration_s=[4.0]), [4.0], 2.0)
    assert table["sample_id"].to_pylist() == ["a#10.25", "a#12.25"]
    assert table["start_s"].to_pylist() == [10.25, 12.25]


def test_lengths_are_those_that_ingest_finds(tmp_path):
    (tmp_path / "broken.mp4").write_text("no film")
    paths = [write_timed_clip(tmp_path / f"{s}.mp4", float(s)) for s in (1, 7)]
    sources = [Source(str(p), str(p)) for p in (paths[0], tmp_path / "broken.mp4", paths[1])]
    short, broken, long = lengths_s(sources, SPEC, StorageSpec())
    assert (short, broken, long) == (pytest.approx(1.0, abs=0.1), None, pytest.approx(7.0, abs=0.1))


def test_the_segments_of_a_film_show_it_one_after_another(tmp_path):
    path = str(write_timed_clip(tmp_path / "a.mp4", 7.0))
    table = in_segments(manifest(sample_id=["a"], uri=[path]), lengths_s([Source("a", path)], SPEC, StorageSpec()), 2.0)
    assert table.num_rows == 3
    brightness = []
    for row in table.to_pylist():
        clip = decode_clip(Source(row["sample_id"], path, None, row["start_s"], row["duration_s"]), SPEC)
        assert clip.duration_s == 2.0
        brightness += clip.video_THWC.mean(axis=(1, 2, 3)).tolist()
    times_s = np.floor((np.arange(12) + 0.5) * 0.5 * 16) / 16
    np.testing.assert_allclose(brightness, 40 + 160 * times_s / 7.0, atol=4)
