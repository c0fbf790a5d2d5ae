"""A few files of the kinds that `benchmarks.media` has all of: what is seen and heard is what a player shows."""

import pytest

from benchmarks.spelled.cases import make
from benchmarks.spelled.judge import judge
from benchmarks.spelled.kinds import all_cases
from tests.films import CASES, needs_ffmpeg

CHOSEN = [
    "usual.mp4",
    "h264_b.avi",
    "xvid_b.avi",
    "against_phase.mp4",
    "mkv_sar.mkv",
    "turned90_wide.mov",
    "turned_and_squeezed.mp4",
    "mirrored_horizontal.mp4",
    "sound_later.mkv",
    "sound_later_aac.avi",
    "picture_later.webm",
    "from_95442_b2.ts",
    "cut_b2.mp4",
    "open_hevc.mkv",
    "refresh.mp4",
    "hole_long.ts",
    "picture_shorter.flv",
    "second_is_default.mkv",
    "lost_packets.ts",
    "live.webm",
    "layout.ts",
    "cut_off.mkv",
    "zero_tail.mp4",
    "encrypted.mp4",
    "unknown_sound.avi",
]

pytestmark = needs_ffmpeg


@pytest.mark.parametrize("name", CHOSEN)
def test_what_is_seen_and_heard_is_what_a_player_shows(name, films, tmp_path):
    assert judge(CASES[name], make(CASES[name], films, tmp_path)) == []


def test_every_kind_has_two_cases_at_least():
    kinds = [case.kind for case in CASES.values()]
    assert min(kinds.count(kind) for kind in kinds) >= 2
    assert len(CASES) == len(all_cases()) >= 114, "no name twice"
