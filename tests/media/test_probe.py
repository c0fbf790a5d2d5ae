import pytest

from benchmarks.spelled.cases import Case, make
from mmcsal.contracts.reject import Reason
from mmcsal.media.probe import MediaError, open_media
from tests.films import needs_ffmpeg

ASF_AUDIO = bytes.fromhex("409e69f84d5bcf11a8fd00805f5c442b")  # the kind of stream, in its header


@needs_ffmpeg
def test_a_file_that_is_there_is_never_called_missing(films, tmp_path):
    """ffmpeg says "operation not permitted" of a Windows Media file with an unknown kind of stream."""
    path = make(Case("a.wmv", "", ("-i {b4} -c:v wmv2 -c:a wmav2 {out}",)), films, tmp_path)
    data = path.read_bytes()
    assert ASF_AUDIO in data
    path.write_bytes(data.replace(ASF_AUDIO, b"\xc0" + ASF_AUDIO[1:], 1))
    with pytest.raises(MediaError) as error:
        open_media(str(path))
    assert (error.value.reason, error.value.detail) == (Reason.NOT_MEDIA, "not a media file: Operation not permitted")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(MediaError) as error:
        open_media(str(tmp_path / "no.mp4"))
    assert error.value.reason is Reason.MISSING_FILE
