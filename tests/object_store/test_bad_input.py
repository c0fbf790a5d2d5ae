"""Stores that cannot be used: each is told in one line with exit code 2, in time, and nothing is written."""

import re
import sys
import time
from collections.abc import Callable

import pytest
from pyarrow import fs

from mmcsal.cli import main

TIME_LIMIT_S = 120  # a store that cannot be used could be asked for hours


@pytest.fixture
def run(monkeypatch, capfd) -> Callable[..., str]:
    """Runs `mmcsal run` in this process; returns the one line that it ends with."""

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["mmcsal", "run", *arguments])
        begun_s = time.monotonic()
        with pytest.raises(SystemExit) as end:
            main()
        assert time.monotonic() - begun_s < TIME_LIMIT_S
        told = capfd.readouterr().err
        assert end.value.code == 2, told
        *before, last = told.splitlines()
        assert [line for line in before if "manifest: started" not in line] == []
        assert last.startswith("mmcsal: error: ")
        return last

    return run


@pytest.fixture
def corpus(tmp_path) -> str:
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a.mp4").write_bytes(b"x")
    return str(tmp_path / "clips")


def test_a_missing_bucket(run, s3, proxy, corpus):
    told = run("--run-dir", "s3://not-there/run", "--corpus", corpus, f"storage.endpoint_url={proxy.url}")
    assert "'s3://not-there/run'" in told
    assert "no such bucket; create it" in told
    assert not [info for info in s3.filesystem().get_file_info(fs.FileSelector("")) if info.base_name == "not-there"]


@pytest.mark.parametrize(
    ("code", "told"),
    [("AccessDenied", "access is denied"), ("InvalidAccessKeyId", "credentials|access is denied")],
)
def test_credentials_that_may_not(run, code, told, s3, bucket, proxy, corpus):
    proxy.refuse(code)
    said = run("--run-dir", f"s3://{bucket}/run", "--corpus", corpus, f"storage.endpoint_url={proxy.url}")
    assert re.search(told, said)
    assert s3.filesystem().get_file_info(fs.FileSelector(bucket)) == []


def test_nothing_listens_at_the_endpoint(run, s3, bucket, corpus):
    said = run("--run-dir", f"s3://{bucket}/run", "--corpus", corpus, "storage.endpoint_url=http://127.0.0.1:9")
    assert "does not answer; check storage.endpoint_url" in said


def test_a_corpus_in_a_missing_bucket(run, s3, proxy, tmp_path):
    said = run(
        *("--run-dir", str(tmp_path / "run"), "--corpus", "s3://not-there/clips"),
        f"storage.endpoint_url={proxy.url}",
    )
    assert "corpus folder 's3://not-there/clips'" in said
