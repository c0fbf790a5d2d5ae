import numpy as np
import pytest

from mmcsal.training.data.index import read_index
from mmcsal.training.data.reading import ClipReader

PARTITIONS = [["s4", "s1", "s3"], ["s5", "s7"]]
SOME_B2 = np.array([[1, 0], [0, 2], [0, 0], [1, 1]])
SOME_IDS = ["s5", "s4", "s1", "s7"]


@pytest.fixture
def reader(clip_files, filesystem) -> ClipReader:
    return ClipReader(read_index(clip_files(PARTITIONS), filesystem).partitions, filesystem, cache_bytes=1, gray=False)


def test_tensors_belong_to_their_ids(reader, clip_table):
    """Also where the rows of a file are in another order than its clips."""
    batch = reader.batch(SOME_B2, slice(4, 8), 12)
    assert (batch.sample_ids, batch.rows, batch.global_batch_size) == (SOME_IDS, slice(4, 8), 12)
    assert batch.video_BTHWC.shape == (4, 4, 16, 16, 3)
    assert batch.video_BTHWC[:, 0, 0, 0, 0].tolist() == batch.audio_BL[:, 0].tolist() == [5, 4, 1, 7]
    whole = clip_table(SOME_IDS)
    assert batch.video_BTHWC.numpy().tobytes() == b"".join(whole["video"].to_pylist())
    assert batch.audio_BL.numpy().tobytes() == b"".join(whole["audio"].to_pylist())


def test_chunks_are_all_clips_in_their_order(reader):
    chunks = list(reader.chunks(SOME_B2, 3))
    assert [chunk.sample_ids for chunk in chunks] == [SOME_IDS[:3], SOME_IDS[3:]]
    assert [(chunk.rows, chunk.global_batch_size) for chunk in chunks] == [(slice(0, 3), 3), (slice(0, 1), 1)]
    assert list(reader.chunks(SOME_B2[:0], 3)) == []


def test_a_batch_keeps_what_it_was_when_the_next_one_is_read(reader):
    """Batches are copies: what augmentation does to one is not in the cache."""
    first = reader.batch(SOME_B2, slice(0, 4), 4)
    before = first.video_BTHWC.clone()
    first.video_BTHWC.zero_()
    assert reader.batch(SOME_B2, slice(0, 4), 4).video_BTHWC.equal(before)


def test_gray_clips_have_one_channel(clip_files, filesystem):
    index = read_index(clip_files(PARTITIONS), filesystem)
    gray, color = (
        ClipReader(index.partitions, filesystem, cache_bytes=1, gray=gray).batch(SOME_B2, slice(0, 4), 4).video_BTHWC
        for gray in (True, False)
    )
    assert gray.shape == (*color.shape[:-1], 1)
    color = color.double()
    expected = 0.299 * color[..., 0] + 0.587 * color[..., 1] + 0.114 * color[..., 2]
    assert (gray[..., 0] - expected).abs().max() <= 0.501
