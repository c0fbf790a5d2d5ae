"""Media on an object store: listed, fetched ahead of the decoder, rejected by name; an outage rejects nobody."""

import errno
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from mmcsal.contracts.errors import InputError
from mmcsal.contracts.reject import Reason
from mmcsal.datasets import FolderSpec, ManifestFileSpec, build_manifest, read_corpus
from mmcsal.media import fetch
from mmcsal.media.decode import Clip, Source
from mmcsal.media.decode_process import DecodeProcess
from mmcsal.media.probe import MediaError
from mmcsal.media.spec import MediaSpec
from mmcsal.storage.uri import StorageSpec
from tests.helpers import write_timed_clip

SPEC = MediaSpec(window_s=1.0, num_frames=4, frame_size_px=32)


@pytest.fixture(scope="module")
def clip_path(tmp_path_factory) -> Path:
    return Path(write_timed_clip(tmp_path_factory.mktemp("clips") / "a.mp4", 2.0))


@pytest.fixture
def upload(s3, bucket):
    def put(name: str, data: bytes) -> str:
        with s3.filesystem().open_output_stream(f"{bucket}/{name}") as stream:
            stream.write(data)
        return f"s3://{bucket}/{name}"

    return put


@pytest.fixture
def storage(proxy) -> StorageSpec:
    return StorageSpec(endpoint_url=proxy.url)


def decode(sources: list[Source], storage: StorageSpec) -> list[Clip | MediaError]:
    with DecodeProcess(SPEC) as process:
        return list(fetch.decode_fetched(sources, process.map, storage))


def reasons(results: list[Clip | MediaError]) -> list[str]:
    return [r.reason if isinstance(r, MediaError) else "clip" for r in results]


def nameless_files() -> set[str]:
    """Files that this process alone can reach."""
    found = set()
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # closed meanwhile by another thread
            found.add(os.readlink(f"/proc/self/fd/{descriptor}"))
    return {name for name in found if name.endswith("(deleted)")}


def test_a_folder_is_listed_with_what_lies_below_it(upload, bucket, storage):
    for name in ("b.mp4", "deep/er/a.MP4", "deep/notes.txt", ".hidden/x.mp4", "deep/.y.mp4"):
        upload(f"clips/{name}", b"x")
    upload("elsewhere/z.mp4", b"x")
    spec = FolderSpec(path=f"s3://{bucket}/clips/", label_from="parent_folder")
    rows = build_manifest(spec, storage).to_pylist()
    assert [row["sample_id"] for row in rows] == ["b.mp4", "deep/er/a.MP4"]
    assert read_corpus(spec, storage).left_out == {"hidden": 2, ".txt": 1}
    assert [row["uri"] for row in rows] == [f"s3://{bucket}/clips/b.mp4", f"s3://{bucket}/clips/deep/er/a.MP4"]
    assert [row["label"] for row in rows] == [None, "er"]
    before = rows[0]["content_hash"]
    upload("clips/b.mp4", b"another")
    after = build_manifest(spec, storage).to_pylist()
    assert before is not None
    assert after[0]["content_hash"] != before
    assert after[1]["content_hash"] == rows[1]["content_hash"]


def test_a_manifest_on_the_store_names_media_beside_it_elsewhere_and_on_disk(upload, bucket, storage):
    text = "path,audio_path\nclips/a.mp4,../sound/a.wav\n/local/b.mp4,\ns3://other/c.mp4,\ngs://third/d.mp4,\n"
    path = upload("lists/list.csv", text.encode())
    rows = {row["sample_id"]: row for row in build_manifest(ManifestFileSpec(path=path), storage).to_pylist()}
    assert rows["clips/a.mp4"]["uri"] == f"s3://{bucket}/lists/clips/a.mp4"
    assert rows["clips/a.mp4"]["audio_uri"] == f"s3://{bucket}/sound/a.wav"
    assert rows["/local/b.mp4"]["uri"] == "/local/b.mp4"
    assert rows["s3://other/c.mp4"]["uri"] == "s3://other/c.mp4"
    assert rows["gs://third/d.mp4"]["uri"] == "gs://third/d.mp4"


@pytest.mark.parametrize("scheme", ["http", "hdfs"])
def test_schemes_that_nobody_reads_are_refused_at_the_scan(scheme, tmp_path):
    (tmp_path / "list.csv").write_text(f"path\na.mp4\n{scheme}://host/b.mp4\n")
    with pytest.raises(InputError, match=rf"{scheme}://host/b.mp4.*rows 2 .*s3:// and gs:// only"):
        build_manifest(ManifestFileSpec(path=str(tmp_path / "list.csv")))
    with pytest.raises(InputError, match=r"unknown scheme"):
        build_manifest(FolderSpec(path=f"{scheme}://host/clips"))


def test_what_is_not_there_is_told(upload, bucket, storage):
    file = upload("clips/a.mp4", b"x")
    for path, told in (
        (f"s3://{bucket}/nowhere", "does not exist"),
        ("s3://no-such-bucket-here/clips", "no such bucket|does not exist"),
        (file, "is a file, expected a folder"),
    ):
        with pytest.raises(InputError, match=told):
            build_manifest(FolderSpec(path=path), storage)
    with pytest.raises(InputError, match="is a folder, expected a file"):
        build_manifest(ManifestFileSpec(path=f"s3://{bucket}/clips"), storage)


def test_fetched_clips_equal_local_ones_in_order_while_the_store_fails(upload, proxy, storage, clip_path):
    proxy.error_share, proxy.drop_share = 0.2, 0.2
    uris = [upload(f"{i}.mp4", clip_path.read_bytes()) for i in range(12)]
    sources = [Source(str(i), str(clip_path) if i % 3 == 0 else uri, start_s=i / 12) for i, uri in enumerate(uris)]
    fetched = decode(sources, storage)
    local = decode([Source(s.sample_id, str(clip_path), start_s=s.start_s) for s in sources], storage)
    assert proxy.num_injected
    for a, b in zip(fetched, local, strict=True):
        np.testing.assert_array_equal(a.video_THWC, b.video_THWC)
        np.testing.assert_array_equal(a.audio_L, b.audio_L)


def test_rejects_name_the_object_and_nothing_else_is_lost(upload, bucket, storage, proxy, clip_path):
    whole = upload("whole.mp4", clip_path.read_bytes())
    missing = f"s3://{bucket}/missing.mp4"
    denied = upload("denied.mp4", b"x")
    others = [upload("empty.mp4", b""), upload("text.mp4", b"not a film" * 100)]
    proxy.refuse("AccessDenied", f"/{bucket}/denied.mp4")
    sources = [Source(uri, uri) for uri in (missing, whole, denied, *others, whole)]
    sources.append(Source("sound", whole, audio_uri=f"s3://{bucket}/missing.wav"))
    results = decode(sources, storage)
    assert reasons(results) == [
        *(Reason.MISSING_FILE, "clip", Reason.MISSING_FILE, Reason.EMPTY_FILE, Reason.NOT_MEDIA, "clip"),
        Reason.MISSING_FILE,
    ]
    assert [results[i].detail.split(": ")[0] for i in (0, 2, 6)] == [missing, denied, f"s3://{bucket}/missing.wav"]
    assert not any("/proc/" in r.detail for r in results if isinstance(r, MediaError))


def test_an_object_that_was_replaced_since_the_scan_is_a_reject(upload, bucket, storage, clip_path):
    """Size and time of change are what a listing tells: another object of the same size has another time."""
    content = clip_path.read_bytes()
    for name in ("corpus/larger.mp4", "corpus/same.mp4", "corpus/later.mp4"):
        upload(name, content)
    scan = build_manifest(FolderSpec(path=f"s3://{bucket}/corpus"), storage)
    assert scan["content_hash"].null_count == 0
    sources = [Source(row["sample_id"], row["uri"], content_hash=row["content_hash"]) for row in scan.to_pylist()]
    assert reasons(decode(sources, storage)) == ["clip"] * 3
    upload("corpus/larger.mp4", content + b"more")
    time.sleep(1.1)  # hashes hold whole seconds
    upload("corpus/later.mp4", content)
    results = dict(zip(scan["sample_id"].to_pylist(), decode(sources, storage), strict=True))
    assert isinstance(results.pop("same.mp4"), Clip)
    assert reasons(list(results.values())) == [Reason.CHANGED] * 2
    assert all("scan the corpus again" in result.detail for result in results.values())


def test_a_decoder_that_names_its_file_is_made_to_name_the_object(upload, storage):
    uri = upload("a.mp4", b"x")

    def decode_badly(sources):
        for source in sources:
            yield MediaError(Reason.DECODE_ERROR, f"Error opening {source.uri}, bad index")

    results = list(fetch.decode_fetched([Source("a", uri)], decode_badly, storage))
    assert results[0].detail == f"Error opening {uri}, bad index"


def test_the_segments_of_a_film_fetch_it_once_and_few_files_lie_on_the_disk(upload, storage, proxy):
    uris = [upload(f"{i}.mp4", b"x" * 100) for i in range(40)]
    sources = [Source(f"{uri}#{s}", uri, start_s=s) for uri in uris for s in range(5)]
    before, counts = nameless_files(), []

    def count(sources):
        for source in sources:
            assert Path(source.uri).read_bytes() == b"x" * 100
            counts.append(len(nameless_files() - before))
            yield MediaError(Reason.DECODE_ERROR, "")

    assert len(list(fetch.decode_fetched(sources, count, storage))) == 200
    assert proxy.requests["GetObject"] == 40
    assert 1 < max(counts) <= fetch.NUM_FILES_AHEAD
    assert nameless_files() <= before


def test_local_files_are_decoded_as_they_are(monkeypatch, clip_path):
    monkeypatch.setattr(fetch, "_Fetched", None)  # no folder, no thread
    sources = [Source("a", str(clip_path))]
    assert list(fetch.decode_fetched(sources, lambda given: iter([given]), StorageSpec())) == [sources]


@pytest.mark.parametrize("fault", ["outage", "expired"])
def test_a_service_that_fails_for_good_ends_the_try_and_rejects_nobody(fault, upload, proxy, clip_path):
    storage = StorageSpec(endpoint_url=proxy.url, max_attempts=3)
    sources = [Source(str(i), upload(f"{i}.mp4", clip_path.read_bytes())) for i in range(30)]
    results = []

    def decode_until_it_fails() -> None:
        with DecodeProcess(SPEC) as process:
            for result in fetch.decode_fetched(sources, process.map, storage):
                results.append(result)
                proxy.outage(600) if fault == "outage" else proxy.refuse("InvalidAccessKeyId")

    with pytest.raises(OSError, match=r"AWS Error"):
        decode_until_it_fails()
    assert set(reasons(results)) == {"clip"}
    assert len(results) < 30


def test_a_full_disk_is_an_error_and_no_reject(upload, storage, monkeypatch):
    uri = upload("a.mp4", b"x" * 1000)
    monkeypatch.setattr(fetch.tempfile, "TemporaryFile", partial(open, "/dev/full", "wb"))  # the kernel's own full disk
    with pytest.raises(OSError) as caught:
        decode([Source("a", uri)], storage)
    assert caught.value.errno == errno.ENOSPC


def test_nothing_is_left_on_the_disk_by_a_worker_that_was_killed(upload, storage, tmp_path, clip_path):
    uri = upload("a.mp4", clip_path.read_bytes())
    program = f"""
from mmcsal.media.decode import Source
from mmcsal.media.fetch import decode_fetched
from mmcsal.storage.uri import StorageSpec
def decode(sources):
    for source in sources:
        print(len(open(source.uri, "rb").read()), flush=True)
        time.sleep(600)
next(decode_fetched([Source("a", {uri!r})], decode, StorageSpec(endpoint_url={storage.endpoint_url!r})))
"""
    worker = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, env={**os.environ, "TMPDIR": str(tmp_path)}
    )
    assert worker.stdout is not None
    assert int(worker.stdout.readline()) == clip_path.stat().st_size
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    assert list(tmp_path.iterdir()) == []
