"""The worker of ingest, without Ray: each row of a partition is a clip or a reject, whatever the scan has found."""

import os
import shutil
from pathlib import Path

import pytest

from mmcsal.config import load_config
from mmcsal.distributed.stages.ingest import incomplete_parts, scan_corpus
from mmcsal.distributed.workers.ingest import IngestWorker
from mmcsal.storage.rundir import RunDir
from tests.helpers import write_timed_clip
from tests.media.test_frame_folder import write_frames

MEDIA = "media={window_s: 1.0, num_frames: 4, frame_size_px: 32}"


def test_names_pipes_and_hidden_files_end_no_job_and_are_all_accounted_for(tmp_path):
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    clip = write_timed_clip(tmp_path / "clip.mp4", 1.0)
    for name in (b"a.mp4", b"..b.mp4", b"caf\xe9.mp4", b".hidden.mp4", b"notes.txt"):
        shutil.copy(clip, os.fsencode(corpus) + b"/" + name)
    os.mkfifo(corpus / "pipe.mp4")
    config, run_dir = load_config(None, [f"corpus={corpus}", MEDIA]), RunDir(str(tmp_path / "run"))
    receipt = scan_corpus(config, run_dir, lambda *_: None)
    assert receipt["left_out"] == {".txt": 1, "hidden": 1}
    assert receipt["warnings"] == ["left out: 1 .txt, 1 hidden"]
    [part] = run_dir.parts("manifest")
    worker = IngestWorker(run_dir, config.media)
    worker.run(part)
    worker.close()
    assert incomplete_parts(run_dir) == []
    assert sorted(run_dir.read_part("clips", part)["sample_id"].to_pylist()) == ["..b.mp4", "a.mp4"]
    rejects = {row["sample_id"]: row for row in run_dir.read_part("rejects", part).to_pylist()}
    assert {name: row["reason"] for name, row in rejects.items()} == {
        "caf\\xe9.mp4": "bad_name", "pipe.mp4": "missing_file"
    }  # fmt: skip
    assert rejects["pipe.mp4"]["detail"].startswith("a pipe")
    assert Path(rejects["pipe.mp4"]["uri"]) == corpus / "pipe.mp4"


def ingested(corpus: str, root: Path) -> tuple[dict[str, dict], dict[str, dict]]:
    """Clips and rejects of a corpus, by id."""
    config, run_dir = load_config(None, [f"corpus={corpus}", MEDIA]), RunDir(str(root))
    scan_corpus(config, run_dir, lambda *_: None)
    worker = IngestWorker(run_dir, config.media)
    for part in run_dir.parts("manifest"):
        worker.run(part)
    worker.close()
    clips, rejects = (run_dir.dataset(folder).to_table().to_pylist() for folder in ("clips", "rejects"))
    return {row["sample_id"]: row for row in clips}, {row["sample_id"]: row for row in rejects}


def test_vggsound_of_videos_and_frames_is_ingested_and_lines_without_media_are_rejects(tmp_path):
    root = tmp_path / "vggsound"
    (root / "audio/train/dog, barking").mkdir(parents=True)
    write_timed_clip(root / "a_000001.mp4", 2.0)
    write_frames(root / "frames/train/dog, barking/b_000002")
    write_timed_clip(root / "audio/train/dog, barking/b_000002.wav", 5.0, picture=False)
    (root / "vggsound.csv").write_text("".join(f'{name},{n},"dog, barking",train\n' for n, name in enumerate("abc", 1)))
    clips, rejects = ingested(f"{{kind: vggsound, path: {root}}}", tmp_path / "run")
    assert sorted(clips) == ["a_000001", "b_000002"]
    assert clips["b_000002"]["source_frame_rate_hz"] == pytest.approx(2, rel=0.05)
    assert {name: row["reason"] for name, row in rejects.items()} == {"c_000003": "missing_file"}


def test_kinetics_sound_of_frames_is_ingested(tmp_path):
    root = tmp_path / "kinetics"
    (root / "train/audio/bowling").mkdir(parents=True)
    write_frames(root / "train/video/bowling/a_1_11")
    write_timed_clip(root / "train/audio/bowling/a_1_11.wav", 5.0, picture=False)
    (root / "my_train.txt").write_text("a_1_11,10,0\n")
    clips, rejects = ingested(f"{{kind: kinetics_sound, path: {root}}}", tmp_path / "run")
    assert sorted(clips) == ["a_1_11"]
    assert rejects == {}


def test_a_film_in_segments_is_as_many_clips(tmp_path):
    (tmp_path / "corpus").mkdir()
    write_timed_clip(tmp_path / "corpus" / "film.mp4", 5.0)
    write_timed_clip(tmp_path / "corpus" / "short.mp4", 1.0)
    (tmp_path / "corpus" / "broken.mp4").write_text("no film")
    media = "media={window: segments, window_s: 2.0, num_frames: 4, frame_size_px: 32}"
    config = load_config(None, [f"corpus={tmp_path / 'corpus'}", media])
    run_dir = RunDir(str(tmp_path / "run"))
    assert scan_corpus(config, run_dir, lambda *_: None)["num_samples"] == 4
    [part] = run_dir.parts("manifest")
    worker = IngestWorker(run_dir, config.media)
    worker.run(part)
    worker.close()
    assert not incomplete_parts(run_dir)
    sources = run_dir.read_part("manifest", part)["source"].to_pylist()
    assert sorted(sources) == ["film.mp4", "film.mp4", "folder", "folder"]
    assert run_dir.read_part("clips", part)["sample_id"].to_pylist() == ["film.mp4#0", "film.mp4#2", "short.mp4"]
    assert run_dir.read_part("rejects", part)["sample_id"].to_pylist() == ["broken.mp4"]
