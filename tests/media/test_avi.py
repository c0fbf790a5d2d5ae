import av
import pytest

from benchmarks.spelled.cases import Case, make
from benchmarks.spelled.judge import judge
from mmcsal.media.avi import delays_of
from tests.films import CASES, needs_ffmpeg

pytestmark = needs_ffmpeg


@pytest.mark.parametrize("name", ["sound_later_aac.avi", "sound_later_libmp3lame.avi", "hole_long.avi"])
def test_empty_chunks_are_time_without_sound(name, films, tmp_path):
    assert judge(CASES[name], make(CASES[name], films, tmp_path)) == []


def test_delays_are_those_of_the_chunks_before(films, tmp_path):
    path = make(CASES["sound_later_libmp3lame.avi"], films, tmp_path)
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        delays = delays_of(str(path), stream)
        assert delays is not None
        seen = [frame.time for frame in container.decode(stream)]
        container.seek(0)
        heard = [delays.put(frame).time for frame in container.decode(stream)]
    assert heard[-1] - seen[-1] == pytest.approx(0.8, abs=0.06)
    assert heard == sorted(heard)


@pytest.mark.parametrize("codecs", ["mpeg4 -c:a pcm_s16le", "mpeg4 -c:a libmp3lame", "libx264 -c:a libmp3lame"])
def test_a_sound_without_holes_has_no_delays(codecs, films, tmp_path):
    """The last has three empty chunks after its first, since the picture has B-frames."""
    path = make(Case("a.avi", "", (f"-i {{b4}} -c:v {codecs} {{out}}",)), films, tmp_path)
    with av.open(str(path)) as container:
        assert delays_of(str(path), container.streams.audio[0]) is None


def test_an_index_that_is_cut_off_tells_of_no_delays(films, tmp_path):
    path = make(CASES["sound_later_aac.avi"], films, tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[: data.rfind(b"idx1") + 100])
    with av.open(str(path)) as container:
        assert delays_of(str(path), container.streams.audio[0]) is None
