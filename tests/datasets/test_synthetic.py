"""The synthetic corpus: real files, what they show and sound like against the truth, and the same bytes every time."""

import dataclasses
import hashlib
import json
import shutil
from collections import Counter
from pathlib import Path

import av
import decord
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcsal.contracts.errors import InputError
from mmcsal.contracts.manifest import MANIFEST
from mmcsal.contracts.reject import Reason
from mmcsal.datasets import SyntheticSpec, build_manifest
from mmcsal.datasets.render_audio import draw_tone, render_sound
from mmcsal.datasets.render_video import draw_look, render_frames
from mmcsal.datasets.synthetic import TRUTH, _plan, generate, read_truth, truth_table
from mmcsal.datasets.synthetic_files import ClipFormat, frames_of, sound_of
from mmcsal.datasets.synthetic_plan import MOTIONS, NUM_CLASSES, SHAPES, ClipPlan, count_classes

SMALL = {"num_clips": 26, "num_broken": 8, "duration_s": 1.0, "frame_size_px": 64, "near_duplicate_fraction": 0.2}


def _digests(root: Path) -> dict[str, str]:
    files = (f for f in root.rglob("*") if f.is_file())
    return {str(f.relative_to(root)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def _truth(spec: SyntheticSpec) -> list[dict]:
    return truth_table(spec).to_pylist()


def _plan_of(**options) -> list[dict]:
    return _truth(SyntheticSpec(path="unused", **options))


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> SyntheticSpec:
    spec = SyntheticSpec(path=str(tmp_path_factory.mktemp("corpus") / "small"), **SMALL)
    generate(spec, num_workers=1)
    return spec


@pytest.fixture
def small_copy(small, tmp_path) -> SyntheticSpec:
    shutil.copytree(small.path, tmp_path / "copy")
    return small.model_copy(update={"path": str(tmp_path / "copy")})


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
    generate(SyntheticSpec(path=str(tmp_path), seed=1, **(SMALL | {"num_clips": 2, "num_broken": 0})), num_workers=1)
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


def test_seven_broken_files_cover_every_reason_that_a_folder_can_hold():
    reasons = {r["expected_reason"] for r in _plan_of(num_broken=7) if r["broken"]}
    assert reasons == {r.value for r in Reason} - {"missing_file", "timeout", "crash"}


def _diagnose(path: Path) -> str | None:
    """What ingest does: probe with PyAV, then decode with decord."""
    if path.stat().st_size == 0:
        return "empty_file"
    try:
        with av.open(str(path)) as container:
            videos, audios = container.streams.video, container.streams.audio
            durations_s = [float(s.duration * s.time_base) for s in (*videos, *audios)]
    except av.FFmpegError:
        return "not_media"
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
        patch.setattr("mmcsal.datasets.synthetic.render_files", die)
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


# --- the plan ---


@settings(max_examples=40, deadline=None)
@given(
    num_clips=st.integers(2, 120),
    num_broken=st.integers(0, 20),
    seed=st.integers(0, 2**40),
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


# --- what the clips show and sound like ---


def _clean_sound(
    motion: str, *, tempo_hz: float, phase: float, shape: str = "disk", f0_hz: float = 400.0
) -> np.ndarray:
    rng = np.random.default_rng(0)
    tone = dataclasses.replace(draw_tone(rng), snr_db=40.0, gain_db=0.0, f0_hz=f0_hz)
    common = {"duration_s": 2.0, "sample_rate_hz": 16000, "rng": rng}
    return render_sound(motion=motion, shape=shape, tempo_hz=tempo_hz, phase=phase, tone=tone, **common)


def _loudness(sound_L: np.ndarray) -> np.ndarray:
    """Root mean square of each hundredth of a second, [200]."""
    return np.sqrt((sound_L.reshape(200, 160) ** 2).mean(axis=1))


def _strongest_rate_hz(series_T: np.ndarray, rate_hz: float) -> float:
    padded = np.abs(np.fft.rfft((series_T - series_T.mean()) * np.hanning(len(series_T)), 20 * len(series_T)))
    return float(np.fft.rfftfreq(20 * len(series_T), 1 / rate_hz)[padded.argmax()])


@pytest.mark.parametrize("motion", ["bounce", "slide", "pulse"])
@pytest.mark.parametrize("tempo_hz", [1.2, 1.7, 2.4, 3.0])
def test_loudness_beats_at_the_tempo_and_on_the_phase(motion, tempo_hz):
    loudness = _loudness(_clean_sound(motion, tempo_hz=tempo_hz, phase=0.3))
    assert _strongest_rate_hz(loudness, 100) == pytest.approx(tempo_hz, rel=0.12)
    beat = (tempo_hz * (np.arange(200) + 0.5) / 100 + 0.3) % 1
    loudest = beat[loudness > 0.8 * loudness.max()]
    away = np.abs((loudest + 0.5) % 1 - 0.5)  # from the beat, in beats
    assert away.max() < {"bounce": 0.15, "slide": 0.2, "pulse": 0.2}[motion]
    if motion == "bounce":  # it dies away after the beat
        assert ((loudest + 0.5) % 1 - 0.5).mean() > 0
    if motion == "pulse":  # it swells towards the beat
        assert (loudest > 0.5).all()


def test_an_orbit_sounds_steady_and_its_pitch_moves_at_the_tempo():
    sound = _clean_sound("orbit", tempo_hz=1.7, phase=0.3)
    loudness = _loudness(sound)
    assert loudness.std() / loudness.mean() < 0.1
    windows = np.lib.stride_tricks.sliding_window_view(sound, 1024)[::160] * np.hanning(1024)
    pitch_hz = np.abs(np.fft.rfft(windows, 16384)).argmax(axis=1) * 16000 / 16384
    assert _strongest_rate_hz(pitch_hz, 100) == pytest.approx(1.7, rel=0.1)
    assert pitch_hz.max() == pytest.approx(400 * 1.22, rel=0.03)
    assert pitch_hz.min() == pytest.approx(400 * 0.78, rel=0.03)
    beat = (1.7 * (np.arange(len(pitch_hz)) * 160 + 512) / 16000 + 0.3) % 1
    assert np.cos(2 * np.pi * beat[pitch_hz.argmax()]) > 0.8


@pytest.mark.parametrize(
    ("shape", "partials"),
    [("disk", {1, 2, 3}), ("ring", {1, 3, 5, 7}), ("bar", {1, 2.76, 5.4, 8.93}), ("cross", {1, 2, 3, 4, 5, 7, 12})],
)
def test_timbres_have_their_partials_and_no_others(shape, partials):
    power = np.abs(np.fft.rfft(_clean_sound("slide", tempo_hz=1.0, phase=0, shape=shape, f0_hz=300.0))) ** 2
    share = {r: power[round(600 * r) - 16 : round(600 * r) + 17].sum() / power.sum() for r in _RATIOS}  # +-8 Hz
    assert {r for r, s in share.items() if s > 0.004} == partials


_RATIOS = (1, 2, 2.76, 3, 4, 5, 5.4, 7, 8.93, 12)


def _tracks(motion: str, tempo_hz: float, phase: float, shape: str = "disk") -> np.ndarray:
    """Centre x, centre y and area of the shape in each of 32 frames, [T, 3]."""
    time_T = np.arange(32) / 16
    look = draw_look(np.random.default_rng(3), motion)
    look = dataclasses.replace(look, color_rgb=(1, 1, 1), background_rgb=((0, 0, 0), (0, 0, 0)), distractors=())
    frames = render_frames(
        motion=motion,
        shape=shape,
        beat_T=tempo_hz * time_T + phase,
        time_T=time_T,
        look=dataclasses.replace(look, noise_std=0.0),
        size_px=64,
        rng=np.random.default_rng(0),
    )
    weight_THW = frames[..., 0] / 255.0
    area_T = weight_THW.sum(axis=(1, 2))
    centers = (np.arange(64) + 0.5) / 64
    x_T = (weight_THW.sum(axis=1) @ centers) / area_T
    y_T = (weight_THW.sum(axis=2) @ centers) / area_T
    return np.stack([x_T, y_T, area_T / 64**2], axis=1)


@pytest.mark.parametrize("tempo_hz", [1.0, 1.85, 2.15, 3.0])
@pytest.mark.parametrize("phase", [0.0, 0.25, 0.6])
def test_motions_can_be_told_apart_at_four_frames_a_second(tempo_hz, phase):
    spread = {m: np.ptp(_tracks(m, tempo_hz, phase)[::4], axis=0) for m in MOTIONS}
    for motion in ("slide", "orbit"):
        assert spread[motion][0] > 0.25
    assert spread["bounce"][1] > 0.15
    assert spread["orbit"][1] > 0.25
    assert spread["bounce"][0] < 0.13
    assert spread["slide"][1] < 0.02
    assert spread["pulse"][2] > 0.08
    assert max(spread[m][2] for m in ("bounce", "slide", "orbit")) < 0.01
    assert spread["pulse"][:2].max() < 0.02


def test_video_meets_the_beat_where_the_sound_does():
    time_T = np.arange(32) / 16
    beat_T = 1.3 * time_T + 0.4
    nearest = np.abs((beat_T + 0.5) % 1 - 0.5).argmin()
    bounce, slide, pulse = (_tracks(m, 1.3, 0.4) for m in ("bounce", "slide", "pulse"))
    assert bounce[nearest, 1] > np.quantile(bounce[:, 1], 0.9)  # on the ground
    assert np.abs(slide[nearest, 0] - 0.5) > np.quantile(np.abs(slide[:, 0] - 0.5), 0.8)  # at an end
    grown = np.diff(pulse[:, 2])
    assert (grown < 0).sum() == np.floor(beat_T[-1]) - np.floor(beat_T[0])  # snaps back once a beat


@pytest.mark.parametrize("motion", MOTIONS)
@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_are_large_enough_and_stay_in_the_frame(motion, shape):
    for seed in range(12):
        look = draw_look(np.random.default_rng(seed), motion)
        assert look.radius >= 0.18
        look = dataclasses.replace(
            look, color_rgb=(1, 1, 1), background_rgb=((0, 0, 0),) * 2, distractors=(), noise_std=0
        )
        frames = render_frames(
            motion=motion,
            shape=shape,
            beat_T=np.linspace(0, 2, 9),
            time_T=np.linspace(0, 2, 9),
            look=look,
            size_px=48,
            rng=np.random.default_rng(0),
        )
        assert (frames.max(axis=(1, 2, 3)) == 255).all()
        if shape != "bar" and shape != "cross":  # their corners may stick out by a pixel or two
            edges = np.concatenate([frames[:, 0], frames[:, -1], frames[:, :, 0], frames[:, :, -1]], axis=1)
            assert edges.max() == 0


def test_the_shape_stands_out_in_gray_either_way_round():
    differences = []
    for seed in range(60):
        look = draw_look(np.random.default_rng(seed), "slide")
        gray = [float(np.dot(c, (0.299, 0.587, 0.114))) for c in (look.color_rgb, *look.background_rgb)]
        differences.append(gray[0] - (gray[1] + gray[2]) / 2)
    assert min(np.abs(differences)) > 0.2
    assert 0.25 < np.mean(np.array(differences) > 0) < 0.75


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


def test_truth_on_disk_is_plain_parquet(small):
    assert pq.ParquetFile(Path(small.path) / "truth.parquet").read() == truth_table(small)
