"""The synthetic corpus: real files, what is in them against the truth, and the same bytes every time."""

import dataclasses
import hashlib
import json
from collections import Counter
from pathlib import Path

import av
import decord
import numpy as np
import pyarrow.parquet as pq
import pytest

from mmcsal.contracts.errors import InputError
from mmcsal.contracts.manifest import MANIFEST
from mmcsal.datasets import SyntheticSpec, build_manifest
from mmcsal.datasets.synthetic.corpus import TRUTH, _plan, generate, read_truth, truth_table
from mmcsal.datasets.synthetic.files import ClipFormat, frames_of, sound_of
from mmcsal.datasets.synthetic.plan import ClipPlan


def _digests(root: Path) -> dict[str, str]:
    files = (f for f in root.rglob("*") if f.is_file())
    return {str(f.relative_to(root)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


# --- files ---


def test_a_clip_of_the_default_format_decodes_as_video_and_sound(tmp_path):
    generate(SyntheticSpec(path=str(tmp_path), num_clips=2, num_broken=0), num_workers=1)
    path = str(tmp_path / "clips" / "clip-000001.mp4")
    frames = decord.VideoReader(path)
    assert len(frames) == 32
    assert frames.get_avg_fps() == 16
    assert frames[31].shape == (112, 112, 3)
    sound = decord.AudioReader(path, sample_rate=16000, mono=True)
    assert sound.shape[0] == 1
    assert 32000 <= sound.shape[1] <= 32000 + 2 * 1024  # AAC ends on whole blocks of 1024
    with av.open(path) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, video.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (audio.codec_context.name, audio.rate, audio.layout.name) == ("aac", 16000, "mono")
        assert container.duration / av.time_base == pytest.approx(2.0, abs=0.07)


def test_decoded_media_are_what_was_rendered(small):
    """Guards the way through the codecs: colour order, the order of frames, the delay and the scale of the sound."""
    clip_format = ClipFormat(small.duration_s, small.frame_rate_hz, small.frame_size_px, small.sample_rate_hz)
    for plan in [p for p in _plan(small) if p.damage is None][:4]:
        path = str(Path(small.path) / "clips" / plan.name)
        frames = decord.VideoReader(path).get_batch(range(16)).asnumpy().astype(float)
        rendered = frames_of(plan, clip_format, small.seed)
        assert np.abs(frames.mean(axis=(1, 2)) - rendered.mean(axis=(1, 2))).max() < 4  # of 255, per frame and channel
        assert np.abs(frames - rendered).mean() < 12
        rendered_sound = sound_of(plan, clip_format, small.seed)
        sound = decord.AudioReader(path, sample_rate=16000, mono=True)[:].asnumpy()[0][: len(rendered_sound)]
        assert np.corrcoef(sound, rendered_sound)[0, 1] > 0.8
        assert sound.std() == pytest.approx(rendered_sound.std(), rel=0.2)


@pytest.mark.parametrize("num_workers", [1, 2])
def test_the_same_spec_gives_the_same_bytes_in_any_number_of_processes(small, tmp_path, num_workers):
    progress = []
    other = small.model_copy(update={"path": str(tmp_path / "other")})
    generate(other, num_workers=num_workers, on_progress=lambda *counts: progress.append(counts))
    assert _digests(tmp_path / "other") == _digests(Path(small.path))
    assert progress[-1] == (34, 34)
    assert [done for done, _ in progress] == sorted(done for done, _ in progress)


def test_another_seed_gives_other_clips(small, tmp_path):
    generate(
        small.model_copy(update={"path": str(tmp_path), "seed": 1, "num_clips": 2, "num_broken": 0}), num_workers=1
    )
    assert not set(_digests(tmp_path / "clips").values()) & set(_digests(Path(small.path)).values())


def test_the_manifest_lists_all_files_without_labels_and_the_truth_has_the_same_ids(small):
    manifest = build_manifest(small)
    assert manifest.schema == MANIFEST
    assert manifest.num_rows == 34
    assert manifest["label"].null_count == 34
    assert set(manifest["source"].to_pylist()) == {"synthetic"}
    truth = read_truth(small.path)
    assert truth.schema == TRUTH
    assert truth["sample_id"].to_pylist() == manifest["sample_id"].to_pylist()


def test_broken_files_break_as_the_truth_says(small):
    rows = [r for r in read_truth(small.path).to_pylist() if r["broken"]]
    assert {r["expected_reason"]: _diagnose(Path(small.path) / "clips" / r["sample_id"]) for r in rows} == {
        r["expected_reason"]: r["expected_reason"] for r in rows
    }
    for row in rows:
        assert _diagnose(Path(small.path) / "clips" / row["sample_id"]) == row["expected_reason"], row
    assert Counter(r["broken"] for r in rows).most_common(1)[0][1] == 1
    whole = [r["sample_id"] for r in read_truth(small.path).to_pylist() if not r["broken"]]
    assert {_diagnose(Path(small.path) / "clips" / n) for n in whole} == {None}


def test_truth_on_disk_is_plain_parquet(small):
    assert pq.ParquetFile(Path(small.path) / "truth.parquet").read() == truth_table(small)


def _diagnose(path: Path) -> str | None:
    """What ingest does: probe with PyAV, then decode with decord."""
    if path.stat().st_size == 0:
        return "empty_file"
    try:
        with av.open(str(path)) as container:
            videos, audios = container.streams.video, container.streams.audio
            durations_s = [float(s.duration * s.time_base) for s in (*videos, *audios)]
    except av.FFmpegError:  # what calls itself an MP4 and lacks its index is one that was cut off
        return "decode_error" if path.read_bytes()[4:8] == b"ftyp" else "not_media"
    if not videos:
        return "no_video"
    if not audios:
        return "no_audio"
    if min(durations_s) < 0.5:
        return "too_short"
    try:
        reader = decord.VideoReader(str(path), num_threads=1)
        reader.get_batch(range(len(reader)))
        decord.AudioReader(str(path), sample_rate=16000, mono=True)
    except Exception:
        return "decode_error"
    return None


# --- pairs and near-duplicates ---


def test_a_misaligned_clip_has_the_sound_of_its_donor_and_an_aligned_one_its_own(small):
    clip_format = ClipFormat(small.duration_s, small.frame_rate_hz, small.frame_size_px, small.sample_rate_hz)
    plans = {p.name: p for p in _plan(small)}

    def aligned_with(plan: ClipPlan) -> ClipPlan:
        return dataclasses.replace(plan, sound_of=None, sound_class_id=plan.class_id)

    misaligned = [r for r in read_truth(small.path).to_pylist() if r["aligned"] is False]
    assert len(misaligned) == round(0.1 * small.num_clips)
    for row in misaligned:
        heard = _loudness_of_any(sound_of(plans[row["sample_id"]], clip_format, small.seed))
        donor = _loudness_of_any(sound_of(plans[row["audio_of"]], clip_format, small.seed))
        own = _loudness_of_any(sound_of(aligned_with(plans[row["sample_id"]]), clip_format, small.seed))
        assert np.corrcoef(heard, donor)[0, 1] > max(0.8, np.corrcoef(heard, own)[0, 1] + 0.1)


def _loudness_of_any(sound_L: np.ndarray) -> np.ndarray:
    """Log power of 64 bands in each 1/16 s, flattened: tells clips apart, noise and starting phases do not matter."""
    power = np.abs(np.fft.rfft(sound_L.reshape(16, -1))) ** 2
    return np.log(power[:, : power.shape[1] // 64 * 64].reshape(16, 64, -1).sum(axis=2) + 1e-3).ravel()


def test_near_duplicates_look_and_sound_like_their_original_but_are_other_files(small):
    digests = _digests(Path(small.path) / "clips")
    rows = [r for r in read_truth(small.path).to_pylist() if r["near_duplicate_of"]]
    assert rows

    def frames(name: str) -> np.ndarray:
        return (
            decord.VideoReader(str(Path(small.path) / "clips" / name))
            .get_batch(range(0, 16, 5))
            .asnumpy()
            .astype(float)
        )

    for row in rows:
        assert digests[row["sample_id"]] != digests[row["near_duplicate_of"]]
        assert np.abs(frames(row["sample_id"]) - frames(row["near_duplicate_of"])).mean() < 20


# --- the folder ---


def test_a_finished_corpus_is_reused_and_one_that_was_moved_is_too(small_copy):
    before = {f: f.stat().st_mtime_ns for f in Path(small_copy.path).rglob("*")}
    calls = []
    generate(small_copy, on_progress=lambda *c: calls.append(c))
    assert calls == []
    assert {f: f.stat().st_mtime_ns for f in Path(small_copy.path).rglob("*")} == before


@pytest.mark.parametrize("marker_is_gone", [True, False])
def test_a_killed_generation_resumes_to_the_same_corpus(small, small_copy, marker_is_gone):
    root = Path(small_copy.path)
    if marker_is_gone:
        (root / "corpus.json").rename(root / "corpus.unfinished.json")
        (root / "truth.parquet").unlink()
    for n in (0, 5, 33):
        (root / "clips" / f"clip-{n:06d}.mp4").unlink()
    (root / "clips" / ".clip-000005.mp4.99.tmp").write_bytes(b"half")
    calls = []
    generate(small_copy, on_progress=lambda *c: calls.append(c))
    assert calls[-1] == (3, 3)
    assert _digests(root) == _digests(Path(small.path))


def test_clips_that_nothing_vouches_for_are_rendered_again(small, small_copy):
    root = Path(small_copy.path)
    (root / "corpus.json").unlink()
    (root / "clips" / "clip-000003.mp4").write_bytes(b"of another spec")
    (root / "clips" / "clip-000099.mp4").write_bytes(b"of a larger corpus")
    generate(small_copy, num_workers=1)
    assert _digests(root) == _digests(Path(small.path))


def test_clips_of_another_spec_are_not_kept_when_two_generations_are_killed(small, small_copy, monkeypatch):
    """The first spec's clips must be gone before the second spec is on record as their maker."""
    root = Path(small_copy.path)
    (root / "corpus.json").rename(root / "corpus.unfinished.json")
    other = small_copy.model_copy(update={"seed": 5})

    def die(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mmcsal.datasets.synthetic.corpus.render_files", die)
        with pytest.raises(KeyboardInterrupt):
            generate(other, num_workers=1)
    generate(other, num_workers=1)
    assert not set(_digests(root / "clips").values()) & _nonempty(_digests(Path(small.path)))


def _nonempty(digests: dict[str, str]) -> set[str]:
    return set(digests.values()) - {hashlib.sha256(b"").hexdigest()}


def test_another_spec_at_the_same_path_is_refused_with_the_fields_that_differ(small):
    with pytest.raises(InputError, match=r"num_clips is 26 there and 27 here, seed is 0 there and 3 here; choose"):
        generate(small.model_copy(update={"num_clips": 27, "seed": 3}))


def test_a_folder_of_someone_else_is_left_alone(tmp_path):
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "holiday.mp4").write_bytes(b"x")
    with pytest.raises(InputError, match=r"1 files there are not of a synthetic corpus.*clips/holiday\.mp4"):
        generate(SyntheticSpec(path=str(tmp_path)))
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="is a file"):
        generate(SyntheticSpec(path=str(tmp_path / "file")))
    with pytest.raises(InputError, match="build its manifest first"):
        read_truth(tmp_path)


def test_the_marker_is_the_spec_without_its_path(small):
    marker = json.loads((Path(small.path) / "corpus.json").read_text())
    assert SyntheticSpec(path=small.path, **{k: v for k, v in marker.items() if k != "renderer"}) == small
