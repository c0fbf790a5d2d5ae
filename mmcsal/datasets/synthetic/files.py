"""Renders one file of a synthetic corpus, whole or broken."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mmcsal.datasets.synthetic.encode import video_payload_spans, write_mp4
from mmcsal.datasets.synthetic.plan import ClipPlan, Damage, draw_latents, noise_rngs
from mmcsal.datasets.synthetic.render_audio import render_sound
from mmcsal.datasets.synthetic.render_video import render_frames

_TOO_SHORT_S = 0.1  # well below what any decoder accepts as a sample (`media.min_duration_s`)
_CRF, _COPY_CRF = 23, 26  # a near-duplicate is coded again, a little worse
TEMPORARY_PREFIX = "."  # hidden: a folder source that reads a corpus half made skips it


@dataclass(frozen=True)
class ClipFormat:
    """What all clips of a corpus have in common."""

    duration_s: float
    frame_rate_hz: int
    frame_size_px: int
    sample_rate_hz: int


def render_files(plans: list[ClipPlan], clip_format: ClipFormat, seed: int, folder: str) -> int:
    """Writes the planned files into `folder`, each under a temporary name first; returns how many."""
    for plan in plans:
        path = os.path.join(folder, plan.name)
        temporary = os.path.join(folder, f"{TEMPORARY_PREFIX}{plan.name}.{os.getpid()}.tmp")
        _write_file(temporary, plan, clip_format, seed)
        try:
            os.replace(temporary, path)
        except FileNotFoundError:
            # Someone who makes the same corpus at the same time tidied ours away: theirs is the same file.
            if not os.path.exists(path):
                raise
    return len(plans)


def frames_of(plan: ClipPlan, clip_format: ClipFormat, seed: int) -> np.ndarray:
    """The frames of a clip, uint8 [T, H, W, 3]."""
    latents = draw_latents(plan, seed=seed)
    time_T = np.arange(max(1, round(clip_format.duration_s * clip_format.frame_rate_hz))) / clip_format.frame_rate_hz
    return render_frames(
        motion=latents.motion,
        shape=latents.shape,
        beat_T=latents.tempo_hz * time_T + latents.phase,
        time_T=time_T,
        look=latents.look,
        size_px=clip_format.frame_size_px,
        rng=noise_rngs(plan.index, seed=seed)[0],
    )


def sound_of(plan: ClipPlan, clip_format: ClipFormat, seed: int) -> np.ndarray:
    """The sound of a clip, float32 [L]: of its own latents, or of the clip whose sound it has."""
    heard = plan
    if plan.sound_of is not None and plan.sound_class_id is not None:
        heard = ClipPlan(plan.sound_of, plan.sound_class_id)
    latents = draw_latents(heard, seed=seed)
    return render_sound(
        motion=latents.motion,
        shape=latents.shape,
        tempo_hz=latents.tempo_hz,
        phase=latents.phase,
        tone=latents.tone,
        duration_s=clip_format.duration_s,
        sample_rate_hz=clip_format.sample_rate_hz,
        rng=noise_rngs(plan.index, seed=seed)[1],
    )


def _write_file(path: str, plan: ClipPlan, clip_format: ClipFormat, seed: int) -> None:
    rng = noise_rngs(plan.index, seed=seed)[2]
    match plan.damage:
        case Damage.ZERO_BYTES:
            Path(path).write_bytes(b"")
        case Damage.RANDOM_BYTES:
            Path(path).write_bytes(rng.bytes(20_000))
        case Damage.TOO_SHORT:
            _write_media(path, plan, replace(clip_format, duration_s=_TOO_SHORT_S), seed)
        case damage:
            _write_media(path, plan, clip_format, seed)
            if damage is Damage.INDEX_LOST:
                _cut(path, 0.6)
            elif damage is Damage.CUT_OFF:
                _cut(path, 0.3)
            elif damage is Damage.OVERWRITTEN:
                _overwrite(path, video_payload_spans(path), rng)


def _write_media(path: str, plan: ClipPlan, clip_format: ClipFormat, seed: int) -> None:
    write_mp4(
        path,
        frames_THWC=None if plan.damage is Damage.NO_VIDEO else frames_of(plan, clip_format, seed),
        frame_rate_hz=clip_format.frame_rate_hz,
        sound_L=None if plan.damage is Damage.NO_AUDIO else sound_of(plan, clip_format, seed),
        sample_rate_hz=clip_format.sample_rate_hz,
        crf=_CRF if plan.copy_of is None else _COPY_CRF,
        is_index_first=plan.damage in (Damage.CUT_OFF, Damage.OVERWRITTEN),
    )


def _cut(path: str, share: float) -> None:
    os.truncate(path, int(os.path.getsize(path) * share))


def _overwrite(path: str, spans: list[tuple[int, int]], rng: np.random.Generator) -> None:
    with open(path, "r+b") as file:
        for offset, length in spans:
            file.seek(offset)
            file.write(rng.bytes(length))
