"""The main job as its users run it, on real encoded media: whole runs in a process of their own, what follows here."""

import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest

from mmcsal.contracts.embedding import read_vectors
from mmcsal.datasets.synthetic.corpus import read_truth
from mmcsal.datasets.synthetic.encode import write_mp4
from mmcsal.selection import SelectSpec, select_pairs
from mmcsal.storage.rundir import RunDir
from tests.distributed.figures import figures_of_epoch, has_checkpoint
from tests.helpers import TIME_LIMIT_S
from tests.pipeline import BUDGET, SETTINGS, SLOW_TO_HEAR, finish, selection, start

pytestmark = pytest.mark.cluster
STAGE_FOLDERS = {"ingest": "clips", "pretrain": "checkpoints", "embed": "embeddings"}


def test_every_planted_broken_file_is_rejected_for_its_reason(undisturbed, corpus):
    truth = read_truth(corpus).to_pylist()
    planted = {row["sample_id"]: row["expected_reason"] for row in truth if row["expected_reason"]}
    rejects = RunDir(str(undisturbed)).dataset("rejects").to_table().to_pylist()
    assert len(planted) == 8
    assert {row["sample_id"]: row["reason"] for row in rejects} == planted
    assert all(row["detail"] and row["stage"] == "ingest" for row in rejects)


def test_every_other_sample_is_embedded_once(undisturbed, corpus):
    table = RunDir(str(undisturbed)).dataset("embeddings").to_table()
    whole = {row["sample_id"] for row in read_truth(corpus).to_pylist() if not row["broken"]}
    assert sorted(table["sample_id"].to_pylist()) == sorted(whole)
    for modality in ("video", "audio"):
        vectors_ND = read_vectors(table, modality)
        np.testing.assert_allclose(np.linalg.norm(vectors_ND, axis=1), 1, atol=1e-5)


def test_the_selection_is_the_budget_without_repeats_and_says_why(undisturbed):
    table = selection(undisturbed)
    assert table["rank"].to_pylist() == list(range(BUDGET))
    assert len(set(table["sample_id"].to_pylist())) == BUDGET
    assert all(reason.endswith(".") for reason in table["reason"].to_pylist())
    assert all(Path(uri).is_file() for uri in table["uri"].to_pylist())


def test_a_notebook_gets_the_same_batch_without_ray(undisturbed):
    table = RunDir(str(undisturbed)).dataset("embeddings").to_table()
    in_process = select_pairs(
        read_vectors(table, "video"),
        read_vectors(table, "audio"),
        BUDGET,
        sample_ids=table["sample_id"].to_pylist(),
        config=SelectSpec(),
    )
    assert in_process.table.drop_columns("uri").equals(selection(undisturbed).drop_columns("uri"))


def test_embeddings_made_elsewhere_start_at_select(mmcsal_here, undisturbed, tmp_path):
    source = str(undisturbed / "embeddings")
    output = mmcsal_here("select", "--embeddings", source, "--budget", str(BUDGET), "--out", str(tmp_path / "out"))
    assert "selection: 10 samples" in output
    assert selection(tmp_path / "out").drop_columns("uri").equals(selection(undisturbed).drop_columns("uri"))


def test_the_report_is_one_file_that_opens_offline(undisturbed):
    page = (undisturbed / "report" / "report.html").read_text()
    for picked in selection(undisturbed)["sample_id"].to_pylist():
        assert picked in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    assert (undisturbed / "report" / "map.png").stat().st_size > 1000


def test_run_again_skips_every_committed_stage(mmcsal_here, undisturbed, arguments):
    before = {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*.parquet")}
    elsewhere = ["cluster.num_cpus=2", "pretrain.num_workers=2", "pretrain.checkpoint_every_steps=1"]
    output = mmcsal_here(*arguments, "--run-dir", str(undisturbed), *elsewhere)
    assert output.count("committed already") == 6
    assert before == {path: path.stat().st_mtime_ns for path in undisturbed.rglob("*.parquet")}


def test_killed_in_ingest_pretrain_and_embed_the_selection_is_the_same(undisturbed, shuffled_manifest, tmp_path):
    """On one CPU and from a manifest in another order, too."""
    run_dir = RunDir(str(tmp_path / "run"))
    arguments = ["run", "--corpus", str(shuffled_manifest), "--budget", str(BUDGET), *SETTINGS]
    arguments += ["--run-dir", run_dir.uri, "cluster.num_cpus=1"]
    under_way: dict[str, Callable[[], bool]] = {
        "ingest": lambda: len(run_dir.parts("clips")) >= 2,
        "pretrain": lambda: has_checkpoint(run_dir, "checkpoints"),
        "embed": lambda: len(run_dir.parts("embeddings")) >= 1,
    }
    for stage, begun in under_way.items():
        process = start(*arguments, environment=SLOW_TO_HEAR)
        deadline = time.monotonic() + TIME_LIMIT_S
        while not begun() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        assert run_dir.committed(STAGE_FOLDERS[stage]) is None, f"{stage} was over before the kill"
        process.communicate()
        if stage == "pretrain":
            first_epoch = Path(run_dir.path("metrics", run_dir.parts("metrics")[0]))
            begun_ns = first_epoch.stat().st_mtime_ns
    output = finish(start(*arguments))
    assert "embed: resumed" in output
    assert output.count("committed already") == 3
    assert first_epoch.stat().st_mtime_ns == begun_ns, "training began anew instead of from its checkpoint"
    assert selection(Path(run_dir.root)).equals(selection(undisturbed))


@pytest.fixture
def shuffled_manifest(corpus, tmp_path) -> Path:
    """The files of the corpus in another order."""
    ids = sorted(path.name for path in (corpus / "clips").iterdir())
    np.random.default_rng(1).shuffle(ids)
    manifest = tmp_path / "shuffled.csv"
    paths = [str(corpus / "clips" / name) for name in ids]
    pa.csv.write_csv(pa.table({"sample_id": ids, "path": paths}), manifest)
    return manifest


def test_two_training_workers_learn_what_one_learns(mmcsal_here, undisturbed, tmp_path):
    """Gathered negatives, prototypes and norms make two workers one: only rounding may differ."""
    copy = tmp_path / "run"
    shutil.copytree(undisturbed, copy)
    mmcsal_here("pretrain", "--run-dir", str(copy), "pretrain.num_workers=2", "--redo", "pretrain")
    of_one, of_two = figures_of_last_epoch(undisturbed), figures_of_last_epoch(copy)
    assert of_two["loss"] == pytest.approx(of_one["loss"], rel=1e-3)
    assert of_two["gap"] == pytest.approx(of_one["gap"], abs=1e-3)
    assert of_two["loss"] < figures_of_epoch(RunDir(str(copy)), 0)["loss"]


def test_other_settings_are_not_mixed_into_a_run(mmcsal_here, undisturbed, arguments, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(undisturbed, copy)
    changed = [*arguments, "--run-dir", str(copy), "pretrain.epochs=1"]
    output = mmcsal_here(*changed, code=2)
    assert "pretrain.epochs was 4, is 1" in output
    assert "--redo pretrain" in output
    smaller = [*arguments, "--run-dir", str(copy), "select.budget=5"]
    assert "select: started (select.budget changed)" in mmcsal_here(*smaller)
    assert selection(copy).num_rows == 5


def test_a_folder_of_movies_some_without_sound(mmcsal_here, movies, tmp_path):
    """What users come for: films that nobody here made, cut into clips, some of them silent."""
    folder = tmp_path / "my videos"
    for name in ("bigbuckbunny.mp4", "bikes.mp4", "carphone_pristine.mp4"):
        cut_into_clips(movies / name, folder / Path(name).stem)
    num_silent = len(list((folder / "bikes").iterdir())) + len(list((folder / "carphone_pristine").iterdir()))
    settings = ["media.window_s=1", "media.num_frames=8", "media.frame_size_px=64", "pretrain.epochs=2"]
    run = ["run", "--corpus", str(folder), "--budget", "2", "--run-dir", str(tmp_path / "run"), *settings]
    mmcsal_here(*run)
    rejects = RunDir(str(tmp_path / "run")).dataset("rejects").to_table().to_pylist()
    assert [row["reason"] for row in rejects] == ["no_audio"] * num_silent
    picks = selection(tmp_path / "run")
    assert picks.num_rows == 2
    assert all(name.startswith("bigbuckbunny/") for name in picks["sample_id"].to_pylist())


def test_a_folder_without_one_readable_video(mmcsal_here, tmp_path):
    (tmp_path / "videos").mkdir()
    for i in range(3):
        (tmp_path / "videos" / f"{i}.mp4").write_text("not a film")
    run = ["run", "--corpus", str(tmp_path / "videos"), "--run-dir", str(tmp_path / "run")]
    output = mmcsal_here(*run, code=3)
    assert "3 of 3 samples cannot be used (3 not_media)" in output.splitlines()[-1]
    assert RunDir(str(tmp_path / "run")).read_json("status.json")["exit_code"] == 3


def figures_of_last_epoch(run_dir: Path) -> dict[str, float]:
    return figures_of_epoch(RunDir(str(run_dir)), 3)


def cut_into_clips(movie: Path, folder: Path) -> None:
    """Clips of a second each, cut and encoded again as a user's own tool would."""
    folder.mkdir(parents=True)
    with av.open(str(movie)) as source:
        rate_hz = round(float(source.streams.video[0].average_rate or 25))
        frames = [frame.to_ndarray(width=320, height=180, format="rgb24") for frame in source.decode(video=0)]
    sound_L = sound_of(movie)
    for i in range(len(frames) // rate_hz):
        write_mp4(
            str(folder / f"part-{i:02d}.mp4"),
            frames_THWC=np.stack(frames[i * rate_hz : (i + 1) * rate_hz]),
            frame_rate_hz=rate_hz,
            sound_L=None if sound_L is None else sound_L[i * 16000 : (i + 1) * 16000],
            sample_rate_hz=16000,
        )


def sound_of(movie: Path) -> np.ndarray | None:
    """Mono at 16 kHz, float32 in [-1, 1]."""
    with av.open(str(movie)) as source:
        if not source.streams.audio:
            return None
        resampler = av.AudioResampler(format="flt", layout="mono", rate=16000)
        chunks = [part.to_ndarray()[0] for frame in source.decode(audio=0) for part in resampler.resample(frame)]
    return np.concatenate(chunks)
