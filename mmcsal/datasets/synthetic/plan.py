"""What each file of a synthetic corpus shows: classes, pairs, duplicates and damage. Nothing is rendered here.

The plan is a function of the spec alone; a clip's latents are a function of (seed, clip index) and its class alone.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from mmcsal.contracts.reject import Reason
from mmcsal.datasets.synthetic.render_audio import Tone, draw_tone, jitter_tone
from mmcsal.datasets.synthetic.render_video import Look, draw_look, jitter_look

MOTIONS = ("bounce", "slide", "orbit", "pulse")  # of the video; the envelope of the sound
SHAPES = ("disk", "ring", "bar", "cross")  # of the video; the timbre of the sound
NUM_CLASSES = len(MOTIONS) * len(SHAPES)

# Streams of random numbers: each use draws from (seed, stream, clip index), so that none disturbs another.
_PLAN, _LATENTS, _JITTER, _FRAME_NOISE, _SOUND_NOISE, _DAMAGE = range(6)


class Damage(StrEnum):
    """How a broken file is broken; the value says it, `reason_of` says what ingest must make of it."""

    ZERO_BYTES = "zero_bytes"
    RANDOM_BYTES = "random_bytes"
    INDEX_LOST = "index_lost"  # cut off before the index (moov) at the end
    CUT_OFF = "cut_off"  # the index is there, most of the data are not
    NO_AUDIO = "no_audio"
    NO_VIDEO = "no_video"
    TOO_SHORT = "too_short"
    OVERWRITTEN = "overwritten"  # the index is there, the video's data are garbage


_REASON_OF = {
    Damage.ZERO_BYTES: Reason.EMPTY_FILE,
    Damage.RANDOM_BYTES: Reason.NOT_MEDIA,
    Damage.INDEX_LOST: Reason.DECODE_ERROR,
    Damage.CUT_OFF: Reason.DECODE_ERROR,
    Damage.NO_AUDIO: Reason.NO_AUDIO,
    Damage.NO_VIDEO: Reason.NO_VIDEO,
    Damage.TOO_SHORT: Reason.TOO_SHORT,
    Damage.OVERWRITTEN: Reason.DECODE_ERROR,
}


def reason_of(damage: Damage) -> Reason:
    """The reason that ingest must give for a file broken in this way."""
    return _REASON_OF[damage]


@dataclass(frozen=True)
class ClipPlan:
    """One file: what it shows, whose sound it has, how it is broken. Indices are of files, from 0."""

    index: int
    class_id: int
    copy_of: int | None = None  # near-duplicate: the clip whose latents it repeats with a small jitter
    sound_of: int | None = None  # misaligned: the clip of another class whose sound it has
    sound_class_id: int | None = None
    damage: Damage | None = None

    @property
    def name(self) -> str:
        return f"clip-{self.index:06d}.mp4"


@dataclass(frozen=True)
class Latents:
    """What a clip shows and sounds like, noise apart. One beat is `1 / tempo_hz` seconds; `phase` in [0, 1) beats."""

    motion: str
    shape: str
    tempo_hz: float
    phase: float
    look: Look
    tone: Tone


def class_name(class_id: int) -> str:
    return "-".join(motion_and_shape(class_id))


def motion_and_shape(class_id: int) -> tuple[str, str]:
    return MOTIONS[class_id // len(SHAPES)], SHAPES[class_id % len(SHAPES)]


def plan_corpus(
    *,
    num_clips: int,
    num_broken: int,
    seed: int,
    misaligned_fraction: float,
    long_tail_ratio: float,
    near_duplicate_fraction: float,
) -> list[ClipPlan]:
    """The plan of every file, by index: `num_clips` sound clips with `num_broken` broken files strewn among them."""
    rng = np.random.default_rng([seed, _PLAN])
    num_files = num_clips + num_broken
    is_broken = np.zeros(num_files, dtype=bool)
    is_broken[rng.choice(num_files, num_broken, replace=False)] = True
    class_of = dict(
        zip(np.flatnonzero(~is_broken).tolist(), _draw_classes(rng, num_clips, long_tail_ratio), strict=True)
    )
    copy_of = _draw_copies(rng, class_of, round(near_duplicate_fraction * num_clips))
    sound_of = _draw_sounds(rng, class_of, copy_of, round(misaligned_fraction * num_clips))
    clips = [ClipPlan(i, c, copy_of.get(i), sound_of.get(i), class_of[sound_of.get(i, i)]) for i, c in class_of.items()]
    damages = list(Damage)
    broken = [
        ClipPlan(i, int(rng.integers(NUM_CLASSES)), damage=damages[n % len(damages)])
        for n, i in enumerate(rng.permutation(np.flatnonzero(is_broken)).tolist())
    ]
    return sorted(clips + broken, key=lambda p: p.index)


def count_classes(num_clips: int, long_tail_ratio: float) -> list[int]:
    """Clips per class from the most to the least frequent: geometric, the first `long_tail_ratio` times the last.

    Every class has a clip as soon as there are enough for that.
    """
    num_present = min(num_clips, NUM_CLASSES)
    weights = long_tail_ratio ** -(np.arange(num_present) / max(1, NUM_CLASSES - 1))
    wanted = num_clips * weights / weights.sum()
    counts = np.maximum(1, np.floor(wanted)).astype(int)
    while missing := num_clips - counts.sum():  # rounding: to or from the classes that are furthest off
        step = np.sign(missing)
        counts[np.argmax(np.where(counts + step >= 1, (wanted - counts) * step, -np.inf))] += step
    return counts.tolist()


def draw_latents(plan: ClipPlan, *, seed: int) -> Latents:
    """What a clip shows: a function of (seed, index, class); a near-duplicate repeats its original's with a jitter."""
    motion, shape = motion_and_shape(plan.class_id)
    rng = np.random.default_rng([seed, _LATENTS, plan.index if plan.copy_of is None else plan.copy_of])
    tempo_hz = _draw_tempo_hz(rng)
    phase = float(rng.random())
    look, tone = draw_look(rng, motion), draw_tone(rng)
    if plan.copy_of is not None:
        jitter_rng = np.random.default_rng([seed, _JITTER, plan.index])
        look, tone = jitter_look(jitter_rng, look), jitter_tone(jitter_rng, tone)
    return Latents(motion, shape, tempo_hz, phase, look, tone)


def noise_rngs(index: int, *, seed: int) -> tuple[np.random.Generator, np.random.Generator, np.random.Generator]:
    """Generators of one file's frame noise, sound noise and damage."""
    frame_noise, sound_noise, damage = (
        np.random.default_rng([seed, stream, index]) for stream in (_FRAME_NOISE, _SOUND_NOISE, _DAMAGE)
    )
    return frame_noise, sound_noise, damage


def _draw_tempo_hz(rng: np.random.Generator) -> float:
    """Uniform in 1-3 Hz without 1.85-2.15: at 4 frames/s, every half beat, a bounce would seem to stand still."""
    tempo_hz = rng.uniform(1.0, 2.7)
    return float(tempo_hz if tempo_hz < 1.85 else tempo_hz + 0.3)


def _draw_classes(rng: np.random.Generator, num_clips: int, long_tail_ratio: float) -> list[int]:
    class_by_rank = rng.permutation(NUM_CLASSES)
    counts = count_classes(num_clips, long_tail_ratio)
    return rng.permutation(np.repeat(class_by_rank[: len(counts)], counts)).tolist()


def _draw_copies(rng: np.random.Generator, class_of: dict[int, int], num_copies: int) -> dict[int, int]:
    """The original of each near-duplicate: another clip of its class that is no duplicate itself.

    Fewer than asked only where a class would be left without an original.
    """
    order = rng.permutation(list(class_of)).tolist()
    keepers = {class_of[i]: i for i in reversed(order)}
    copies = [i for i in order if keepers[class_of[i]] != i][:num_copies]
    is_copy = set(copies)
    originals_of: dict[int, list[int]] = {}
    for i, c in class_of.items():
        if i not in is_copy:
            originals_of.setdefault(c, []).append(i)
    return {i: _choose(rng, originals_of[class_of[i]]) for i in copies}


def _draw_sounds(
    rng: np.random.Generator, class_of: dict[int, int], copy_of: dict[int, int], num_misaligned: int
) -> dict[int, int]:
    """Whose sound each misaligned clip has. A clip and its near-duplicates are misaligned together, with one sound."""
    members_of: dict[int, list[int]] = {}
    for i in class_of:
        members_of.setdefault(copy_of.get(i, i), []).append(i)
    by_class: dict[int, list[int]] = {}
    for i, c in class_of.items():
        by_class.setdefault(c, []).append(i)
    sound_of: dict[int, int] = {}
    for original in rng.permutation(list(members_of)).tolist():
        members = members_of[original]
        if len(sound_of) + len(members) > num_misaligned:
            continue
        donor = _choose_other_class(rng, by_class, class_of[original])
        sound_of.update(dict.fromkeys(members, donor))
    return sound_of


def _choose_other_class(rng: np.random.Generator, by_class: dict[int, list[int]], class_id: int) -> int:
    """Uniform over the clips of all other classes."""
    others = [c for c in sorted(by_class) if c != class_id]
    sizes = np.array([len(by_class[c]) for c in others])
    return _choose(rng, by_class[others[rng.choice(len(others), p=sizes / sizes.sum())]])


def _choose(rng: np.random.Generator, items: list[int]) -> int:
    return items[int(rng.integers(len(items)))]
