"""Stores that cannot be used: each is told in one line with exit code 2, in time, and nothing is written."""

import os
import re
import subprocess
import sys
import time

import pytest
from pyarrow import fs

TIME_LIMIT_S = 60  # of the whole command, its imports included


def run(*arguments: str) -> str:
    command = [sys.executable, "-c", "from mmcsal.cli import main; main()", "run", *arguments]
    begun_s = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT_S, env=os.environ)
    assert time.monotonic() - begun_s < TIME_LIMIT_S
    assert done.returncode == 2, done.stderr
    *before, last = done.stderr.splitlines()
    assert [line for line in before if "manifest: started" not in line] == []
    assert last.startswith("mmcsal: error: ")
    return last


@pytest.fixture
def corpus(tmp_path) -> str:
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a.mp4").write_bytes(b"x")
    return str(tmp_path / "clips")


def test_a_missing_bucket(s3, proxy, corpus):
    told = run("--run-dir", "s3://not-there/run", "--corpus", corpus, f"storage.endpoint_url={proxy.url}")
    assert "'s3://not-there/run'" in told
    assert "no such bucket; create it" in told
    assert not [info for info in s3.filesystem().get_file_info(fs.FileSelector("")) if info.base_name == "not-there"]


@pytest.mark.parametrize(
    ("code", "told"),
    [("AccessDenied", "access is denied"), ("InvalidAccessKeyId", "credentials|access is denied")],
)
def test_credentials_that_may_not(code, told, s3, bucket, proxy, corpus):
    proxy.refuse(code)
    said = run("--run-dir", f"s3://{bucket}/run", "--corpus", corpus, f"storage.endpoint_url={proxy.url}")
    assert re.search(told, said)
    assert s3.filesystem().get_file_info(fs.FileSelector(bucket)) == []


def test_nothing_listens_at_the_endpoint(s3, bucket, corpus):
    said = run("--run-dir", f"s3://{bucket}/run", "--corpus", corpus, "storage.endpoint_url=http://127.0.0.1:9")
    assert "does not answer; check storage.endpoint_url" in said


def test_a_corpus_in_a_missing_bucket(s3, proxy, tmp_path):
    said = run(
        *("--run-dir", str(tmp_path / "run"), "--corpus", "s3://not-there/clips"),
        f"storage.endpoint_url={proxy.url}",
    )
    assert "corpus folder 's3://not-there/clips'" in said
