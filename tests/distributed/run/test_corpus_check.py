"""What `--check` tells of a corpus: all of a small one, a sample of a large one, and never longer than it may."""

import os

import pytest

from mmcsal.config import RunConfig, load_config
from mmcsal.datasets.synthetic.corpus import SyntheticSpec, generate, truth_table
from mmcsal.distributed.run import corpus_check
from mmcsal.distributed.run.corpus_check import describe_corpus

MEDIA = "media={window_s: 1.0, num_frames: 4, frame_size_px: 32}"
SPEC = {"num_clips": 12, "num_broken": 8, "duration_s": 1.0, "frame_size_px": 32, "near_duplicate_fraction": 0}


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> RunConfig:
    root = tmp_path_factory.mktemp("corpus") / "rendered"
    generate(SyntheticSpec(path=str(root), **SPEC), num_workers=1)
    (root / "clips" / "notes.txt").write_text("x")
    os.mkfifo(root / "clips" / "pipe.mp4")
    return load_config(None, [f"corpus={root / 'clips'}", MEDIA])


def test_kinds_hours_and_what_will_be_refused_are_told(config):
    lines = list(describe_corpus(config))
    assert lines[0] == f"corpus: 21 samples in {config.corpus.path}"
    assert lines[1] == "  left out: 1 .txt"
    assert lines[2] == "  looked at all of them: 12 can be decoded: 12 mov (h264, aac)"
    assert float(lines[3].split()[0]) == pytest.approx(12 / 3600, rel=0.1)
    refused = {line.split()[2].rstrip(":"): int(line.split()[3]) for line in lines[4:]}
    truth = [
        row["expected_reason"] for row in truth_table(SyntheticSpec(path="x", **SPEC)).to_pylist() if row["broken"]
    ]
    assert refused == {reason: truth.count(reason) for reason in truth} | {"missing_file": 1}
    assert "pipe.mp4" in next(line for line in lines if "missing_file" in line)


def test_a_sample_stands_for_a_large_corpus_and_is_the_same_each_time(config, monkeypatch):
    monkeypatch.setattr(corpus_check, "MAX_SAMPLES", 5)
    first = list(describe_corpus(config))
    assert first == list(describe_corpus(config))
    assert first[2].startswith("  looked at 5 of them: ")
    assert first[3].startswith("  about ")


def test_time_is_bounded_and_what_cannot_be_reached_is_said(config, monkeypatch):
    monkeypatch.setattr(corpus_check, "MAX_S", -1.0)
    assert list(describe_corpus(config)) == [f"corpus: 21 samples in {config.corpus.path}", "  left out: 1 .txt"]
    [line] = describe_corpus(load_config(None, ["corpus=/nowhere/at/all"]))
    assert line.startswith("corpus: not looked at: corpus folder '/nowhere/at/all' does not exist")
    [line] = describe_corpus(load_config(None, ["corpus={kind: synthetic, path: /nowhere/made}"]))
    assert line == "corpus: 320 clips and 8 broken files, rendered into /nowhere/made"
