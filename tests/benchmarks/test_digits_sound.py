import numpy as np
import pyarrow as pa
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from benchmarks import digits_sound
from mmcsal.contracts.clip import clip_schema, read_tensor
from mmcsal.storage.rundir import RunDir

NUM_TRAIN, NUM_TEST = 300, 100
CHANCE = 1 / digits_sound.NUM_CLASSES


@pytest.fixture(scope="module")
def clips() -> tuple[pa.Table, pa.Table]:
    """A CLIP table to learn on and one to be tested on."""
    train, test = digits_sound.split(NUM_TRAIN, NUM_TEST)
    return digits_sound.make_clips(train), digits_sound.make_clips(test)


def classes(table: pa.Table) -> np.ndarray:
    return digits_sound.classes_of(table["sample_id"].to_pylist())


def test_a_table_has_the_schema_of_clips_and_the_shapes_of_the_corpus(clips: tuple[pa.Table, pa.Table]) -> None:
    table = clips[1]
    shape = {"num_frames": 8, "frame_size_px": 32, "num_audio_samples": 16_000}
    assert table.schema.equals(clip_schema(**shape), check_metadata=True)
    assert read_tensor(table, "video").shape == (NUM_TEST, 8, 32, 32, 3)
    assert read_tensor(table, "audio").shape == (NUM_TEST, 16_000)
    assert len(set(table["sample_id"].to_pylist())) == NUM_TEST


def test_every_digit_moves_and_every_word_is_loud_enough(clips: tuple[pa.Table, pa.Table]) -> None:
    gray = read_tensor(clips[1], "video")[..., 0].astype(float)
    blocks = gray.reshape(NUM_TEST, 8, 8, 4, 8, 4).mean(axis=(3, 5))  # noise alone: a deviation of 3.8 at most
    assert (blocks.std(axis=1).mean(axis=(1, 2)) > 6).all()
    audio = read_tensor(clips[1], "audio").astype(float)
    assert (np.abs(audio).max(axis=1) > 1000).all()
    assert (np.abs(audio) > 32_000).mean() < 0.001


def test_a_clip_follows_from_the_seed_and_its_scan_alone() -> None:
    together, alone = digits_sound.make_clips(np.array([7, 1500, 30])), digits_sound.make_clips(np.array([1500]))
    assert together.slice(1, 1).equals(alone)
    other = digits_sound.make_clips(np.array([1500]), seed=1)
    assert not (read_tensor(other, "video") == read_tensor(alone, "video")).all()
    assert not (read_tensor(other, "audio") == read_tensor(alone, "audio")).all()


def test_both_halves_of_a_split_are_disjoint_and_use_each_scan_once() -> None:
    train, test = digits_sound.split(1200, 597)
    assert sorted([*train, *test]) == list(range(1797))
    again = digits_sound.split(1200, 597)
    np.testing.assert_array_equal(train, again[0])
    np.testing.assert_array_equal(test, again[1])
    with pytest.raises(ValueError, match="1797 scans"):
        digits_sound.split(1200, 598)


def test_the_word_of_a_pair_is_that_of_its_digit(monkeypatch: pytest.MonkeyPatch) -> None:
    spoken: list[str] = []

    def listen(word: str, _: np.random.Generator) -> np.ndarray:
        spoken.append(word)
        return np.zeros(16_000, np.int16)

    monkeypatch.setattr(digits_sound, "render_word", listen)
    table = digits_sound.make_clips(np.arange(40))
    np.testing.assert_array_equal(classes(table), load_digits().target[:40])
    assert spoken == [digits_sound.WORDS[digit] for digit in classes(table)]
    assert len(set(digits_sound.WORDS)) == digits_sound.NUM_CLASSES


def test_the_class_can_be_learned_from_video_and_from_sound(clips: tuple[pa.Table, pa.Table]) -> None:
    for features in (centred_frames, spectra):
        classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
        with threadpool_limits(1):
            classifier.fit(features(clips[0]), classes(clips[0]))
        assert classifier.score(features(clips[1]), classes(clips[1])) > 4 * CHANCE, features.__name__


def test_written_clips_replace_those_of_an_earlier_run(tmp_path) -> None:
    run_dir = RunDir(str(tmp_path))
    digits_sound.write_clips(run_dir, np.arange(130))
    digits_sound.write_clips(run_dir, np.arange(100, 110))
    table = run_dir.dataset("clips").to_table()
    assert table["sample_id"].to_pylist() == [f"scan-{scan:04d}" for scan in range(100, 110)]


def centred_frames(table: pa.Table) -> np.ndarray:
    """Every second pixel of the first frame, with the digit moved to the middle, [N, 16 * 16]."""
    frames_NHW = read_tensor(table, "video")[:, 0, :, :, 0].astype(float)
    ink_NHW = np.maximum(0, frames_NHW - frames_NHW.mean(axis=(1, 2), keepdims=True))
    place_P = np.arange(32)
    moved = []
    for frame_HW, ink_HW in zip(frames_NHW, ink_NHW, strict=True):
        row, column = (round(16 - ink_HW.sum(axis=axis) @ place_P / ink_HW.sum()) for axis in (1, 0))
        moved.append(np.roll(frame_HW, (row, column), axis=(0, 1))[::2, ::2].ravel())
    return np.stack(moved)


def spectra(table: pa.Table) -> np.ndarray:
    """Log energy in 32 bands of each eighth of the second, [N, 8 * 32]."""
    audio_NTL = read_tensor(table, "audio").reshape(table.num_rows, 8, -1).astype(float)
    power_NTF = np.abs(np.fft.rfft(audio_NTL * np.hanning(audio_NTL.shape[2]), axis=2))[:, :, 1:961] ** 2
    return np.log(power_NTF.reshape(table.num_rows, 8, 32, 30).mean(axis=3) + 1).reshape(table.num_rows, -1)
