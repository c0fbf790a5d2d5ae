"""What is wrong with how a case was decoded; nothing, where a viewer would see and hear the same."""

import re
from pathlib import Path

import numpy as np

from benchmarks.spelled.cases import Case
from benchmarks.spelled.read import PIECE_S, UPRIGHT, Spelled, read
from mmcsal.media.decode import Clip, Source, decode_clip
from mmcsal.media.probe import MediaError
from mmcsal.media.spec import MediaSpec

SPEC = MediaSpec(frame_size_px=120)
MAX_APART_S = 0.06  # of picture and sound
ASPECTS = (0.9, 1.1)
# What would differ between two runs, or tells of the decoder's inside.
UNPLAIN = re.compile(r"(?<!\d)0x|\.cc\b|Errno|Check failed|avcodec|\d\d:\d\d:\d\d")


def judge(case: Case, path: Path) -> list[str]:
    """What is wrong, in words."""
    spec = SPEC.model_copy(update=case.spec)
    try:
        clip = decode_clip(Source(case.name, str(path)), spec)
    except MediaError as error:
        wrong = [] if str(error.reason) == case.reject else [f"rejected as {error.reason}: {error.detail}"]
        return [*wrong, *([f"unplain words: {error.detail}"] if UNPLAIN.search(error.detail) else [])]
    if case.reject:
        return [f"a clip and no reject as {case.reject}"]
    spelled = read(clip.video_THWC, clip.audio_L, spec.sample_rate_hz, min(clip.duration_s, spec.window_s))
    return _wrong_picture(case, spelled) + _wrong_sound(case, clip, spelled, spec)


def _wrong_picture(case: Case, spelled: Spelled) -> list[str]:
    wrong = []
    if spelled.turned != UPRIGHT:
        wrong.append(spelled.turned)
    if not ASPECTS[0] <= spelled.aspect <= ASPECTS[1]:
        wrong.append(f"squashed: a square is {spelled.aspect:.2f} to 1")
    if not spelled.is_red:
        wrong.append("wrong colors")
    if spelled.frame_spread_s > case.spread_s:
        wrong.append(f"frames {spelled.frame_spread_s:.2f} s off their places")
    return wrong


def _wrong_sound(case: Case, clip: Clip, spelled: Spelled, spec: MediaSpec) -> list[str]:
    if case.silent:
        return ["there is a sound"] if np.abs(clip.audio_L).max() > 200 else []
    if not len(spelled.sound_at_s):
        return ["no sound"]
    wrong = []
    apart_s = spelled.sound_minus_picture_s + case.sound_late_s
    if abs(apart_s) > MAX_APART_S + case.spread_s / 4:
        wrong.append(f"sound {apart_s:+.2f} s from the picture")
    if np.ptp(spelled.sound_lag_s) > case.sound_spread_s:
        wrong.append(f"sounds {np.ptp(spelled.sound_lag_s):.2f} s off their places")
    if case.hole:
        begin, end = (t - float(np.median(spelled.sound_lag_s)) for t in case.hole)
        heard = (spelled.sound_at_s > begin) & (spelled.sound_at_s < end)
        if heard.any() or not (spelled.sound_at_s > end + PIECE_S / 2).any():
            wrong.append("the hole in the sound is not where it was")
    return wrong
