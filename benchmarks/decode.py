"""What the decoder of ingest costs beside the bare loop that one would write, file by file, on one core.

Ingest is its worker without Ray: the decoder in a child process, clips compressed and committed. A loop opens the
file, reads the frames and the sound of the same window by PyAV, or the frames by decord, and throws them away; it
counts where its frames are right, which the files tell. All read in turn, so that a drift of the machine meets all.
The seconds are those of CPUs, of all threads and of the decoder: others on the machine do not count.
"""

import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.csv

from benchmarks.decode_files import SHAPES, file_of, number_at, number_of
from benchmarks.outcome import arguments, finish
from mmcsal.config import RunConfig, load_config
from mmcsal.distributed.stages.ingest import scan_corpus
from mmcsal.distributed.workers.ingest import IngestWorker
from mmcsal.media.decode import Source, decode_clip
from mmcsal.media.spec import MediaSpec
from mmcsal.storage.rundir import RunDir

TARGET_OF_LOOP, TARGET_OF_KEYFRAMES, TARGET_OF_TWO_HOURS, TARGET_OF_MEMORY = 0.9, 5.0, 1.2, 1.1
QUICK = ("2 s", "short groups", "1 min", "2 h")
WINDOW_S, NUM_FRAMES, SIZE_PX, SAMPLE_RATE_HZ = 10.0, 16, 112, 16_000
MEDIA = {"window_s": WINDOW_S, "num_frames": NUM_FRAMES, "frame_size_px": SIZE_PX, "sample_rate_hz": SAMPLE_RATE_HZ}
ROUND_S = 1.5  # of the PyAV loop: files that are fast are read more often

Loop = Callable[[str, np.ndarray, float], np.ndarray]


def main() -> None:
    args = arguments(__doc__)
    names, num_rounds = (QUICK, 1) if args.quick else (tuple(SHAPES), 7)
    spec = MediaSpec.model_validate(MEDIA)
    figures: dict[str, Any] = {"files": {}}
    checks: dict[str, bool] = {}
    for name in names:
        path = str(file_of(name))
        found = _compare(name, path, num_rounds)
        figures["files"][name] = found
        checks[f"{name}: ingest / fastest right loop"] = found["ratio"] >= TARGET_OF_LOOP
        print(f"{name:<13} " + ", ".join(f"{key} {value}" for key, value in _shown(found).items()), flush=True)
    figures |= _against_itself(names, num_rounds)
    figures["memory"] = _memory_growth([str(file_of(name)) for name in names if name != "4k"], spec)
    checks |= {
        "key frames / uniform on long groups": figures.get("keyframes", TARGET_OF_KEYFRAMES) >= TARGET_OF_KEYFRAMES,
        "a window of 2 h / of 1 min": figures["two_hours"] <= TARGET_OF_TWO_HOURS,
        "memory after / before": figures["memory"] <= TARGET_OF_MEMORY,
    }
    worst = min(found["ratio"] for found in figures["files"].values())
    keys = (
        f"key frames {figures['keyframes']:.1f} times uniform ({TARGET_OF_KEYFRAMES:g}), "
        if "keyframes" in figures
        else ""
    )
    line = (
        f"ingest / fastest right loop: {worst:.2f} at least (target {TARGET_OF_LOOP}); {keys}a window of 2 h "
        f"{figures['two_hours']:.2f} of 1 min (at most {TARGET_OF_TWO_HOURS}), memory {figures['memory']:.2f} "
        f"(at most {TARGET_OF_MEMORY})"
    )
    finish("decode", checks, figures, line, args)


def _shown(found: dict[str, Any]) -> dict[str, str]:
    rates = {name: f"{rate:.1f}/s" for name, rate in found["files_per_s"].items()}
    return {**rates, "right": " ".join(found["right"]), "ratio": f"{found['ratio']:.2f}"}


def _compare(name: str, path: str, num_rounds: int) -> dict[str, Any]:
    """Files a second of ingest and of each loop, which of these are right, and the ratio to the fastest of them."""
    shape = SHAPES[name]
    duration_s = shape.duration_s * shape.num_copies
    window_s = min(WINDOW_S, duration_s)
    start_s = (duration_s - window_s) / 2
    times_s_T = start_s + (np.arange(NUM_FRAMES) + 0.5) * (window_s / NUM_FRAMES)
    expected = [number_at(shape, t) for t in times_s_T]
    loops = {loop: read for loop, read in LOOPS.items() if _is_right(read, path, times_s_T, window_s, expected)}
    begun_s = time.process_time()
    LOOPS["pyav"](path, times_s_T, window_s)
    count = max(4, min(64, round(ROUND_S / (time.process_time() - begun_s))))
    seconds: dict[str, list[float]] = {loop: [] for loop in (*loops, "ingest")}
    with tempfile.TemporaryDirectory() as folder, _Ingest(path, count, Path(folder)) as ingest:
        assert [number_of(frame) for frame in ingest.frames()] == expected, f"ingest is wrong on {name}"
        for _ in range(num_rounds):
            for loop, read in loops.items():
                begun_s = time.process_time()
                for _ in range(count):
                    read(path, times_s_T, window_s)
                seconds[loop].append(time.process_time() - begun_s)
            seconds["ingest"].append(ingest.seconds())
    fastest = min(loops, key=lambda loop: statistics.median(seconds[loop]))
    ratios = [a / b for a, b in zip(seconds[fastest], seconds["ingest"], strict=True)]
    rates = {loop: count / statistics.median(values) for loop, values in seconds.items()}
    return {"files_per_s": rates, "right": sorted(loops), "fastest": fastest, "ratio": statistics.median(ratios)}


class _Ingest:
    """The worker of ingest on one file, many times; its decoder lives on from round to round."""

    def __init__(self, path: str, count: int, folder: Path, **media: Any) -> None:
        table = pa.table({"sample_id": [f"{i:04d}" for i in range(count)], "path": [path] * count})
        pa.csv.write_csv(table, folder / "list.csv")
        settings = ", ".join(f"{key}: {value}" for key, value in {**MEDIA, **media}.items())
        config: RunConfig = load_config(None, [f"corpus={folder / 'list.csv'}", f"media={{{settings}}}"])
        config = config.model_copy(update={"ingest": config.ingest.model_copy(update={"samples_per_partition": count})})
        self._run_dir = RunDir(str(folder / "run"))
        scan_corpus(config, self._run_dir, lambda *_: None)
        [self._part] = self._run_dir.parts("manifest")
        self._worker = IngestWorker(self._run_dir, config.media)
        self.seconds()  # the first round starts the decoder

    def seconds(self) -> float:
        begun_s = self._used_s()
        self._worker.run(self._part)
        return self._used_s() - begun_s

    def _used_s(self) -> float:
        """Seconds of CPU of this process and of its decoder."""
        child = self._worker._decoder._child
        return time.process_time() + (time.clock_gettime(_cpu_clock(child.pid)) if child is not None else 0.0)

    def frames(self) -> np.ndarray:
        """Of the first clip, uint8 [T, H, W, 3]."""
        clips = self._run_dir.read_part("clips", self._part)
        assert clips.num_rows, self._run_dir.read_part("rejects", self._part).to_pylist()[:1]
        frames = np.frombuffer(clips["video"][0].as_py(), np.uint8)
        return frames.reshape(NUM_FRAMES, SIZE_PX, SIZE_PX, 3)

    def __enter__(self) -> "_Ingest":
        return self

    def __exit__(self, *_: object) -> None:
        self._worker.close()


def _cpu_clock(pid: int) -> int:
    """The clock of what another process uses, as `clock_getcpuclockid` of the C library makes it."""
    return (~pid << 3) | 2


# --- the loops ---


def _is_right(read: Loop, path: str, times_s_T: np.ndarray, window_s: float, expected: list[int]) -> bool:
    try:
        return [number_of(frame) for frame in read(path, times_s_T, window_s)] == expected
    except Exception:  # of a decoder that does not know the file
        return False


def _scaled(width_px: int, height_px: int) -> tuple[int, int]:
    scale = SIZE_PX / min(width_px, height_px)
    return round(width_px * scale), round(height_px * scale)


def pyav_loop(path: str, times_s_T: np.ndarray, window_s: float) -> np.ndarray:
    frames, waiting, shown = [], list(times_s_T), None
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        container.seek(int(times_s_T[0] / stream.time_base), stream=stream)
        for frame in container.decode(stream):
            while waiting and shown is not None and frame.time > waiting[0]:
                frames.append(_small(shown))
                waiting.pop(0)
            shown = frame
            if not waiting:
                break
    frames += [_small(shown)] * len(waiting)
    sound_of(path, times_s_T[0] - window_s / NUM_FRAMES / 2, window_s)
    return np.stack(frames)


def _small(frame: av.VideoFrame) -> np.ndarray:
    return frame.reformat(*_scaled(frame.width, frame.height), "rgb24", threads=1).to_ndarray()


def decord_loop(path: str, times_s_T: np.ndarray, window_s: float) -> np.ndarray:
    import decord

    with av.open(path) as container:
        width, height = _scaled(container.streams.video[0].width, container.streams.video[0].height)
    reader = decord.VideoReader(path, ctx=decord.cpu(0), width=width, height=height, num_threads=1)
    begins_s = reader.get_frame_timestamp(range(len(reader)))[:, 0]
    frames = reader.get_batch(np.searchsorted(begins_s, times_s_T, side="right") - 1).asnumpy()
    sound_of(path, times_s_T[0] - window_s / NUM_FRAMES / 2, window_s)
    return frames


def sound_of(path: str, start_s: float, window_s: float) -> int:
    """Reads the sound of the window as mono; returns how many samples."""
    count, resampler = 0, av.AudioResampler("s16", "mono", SAMPLE_RATE_HZ)
    with av.open(path) as container:
        stream = container.streams.audio[0]
        container.seek(int(start_s / stream.time_base), stream=stream)
        for frame in container.decode(stream):
            count += sum(part.samples for part in resampler.resample(frame))
            if count >= window_s * SAMPLE_RATE_HZ:
                break
    return count


LOOPS: dict[str, Loop] = {"pyav": pyav_loop, "decord": decord_loop}


# --- ingest against itself ---


def _against_itself(names: tuple[str, ...], num_rounds: int) -> dict[str, float]:
    """How much faster key frames alone are, and how much slower a window of a long file is."""
    found = {}
    if "long groups" in names:
        found["keyframes"] = 1 / _ratio(("long groups", {"sampling": "keyframes"}), ("long groups", {}), num_rounds)
    found["two_hours"] = _ratio(("2 h", {}), ("1 min", {}), num_rounds)
    return found


def _ratio(a: tuple[str, dict[str, str]], b: tuple[str, dict[str, str]], num_rounds: int) -> float:
    """What decoding costs with `a` (a file and keys of `media`), over that with `b`; in turn, in this process."""
    ratios = []
    for _ in range(num_rounds + 1):
        ratios.append(_decode_s(*a) / _decode_s(*b))
    return statistics.median(ratios[1:])


def _decode_s(name: str, media: dict[str, str]) -> float:
    spec, source = MediaSpec.model_validate({**MEDIA, **media}), Source(name, str(file_of(name)))
    begun_s = time.process_time()
    for _ in range(4):
        decode_clip(source, spec)
    return time.process_time() - begun_s


def _memory_growth(paths: list[str], spec: MediaSpec) -> float:
    """The peak of this process after ten passes over the files, over that after two."""
    peaks = []
    for num_passes in (2, 8):
        for _ in range(num_passes):
            for path in paths:
                decode_clip(Source(path, path), spec)
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return peaks[1] / peaks[0]


if __name__ == "__main__":
    main()
