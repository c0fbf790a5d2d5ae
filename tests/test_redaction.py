"""Secrets in URIs and in the environment are never shown."""

import logging

import pytest

from mmcsal.contracts.errors import InputError
from mmcsal.redaction import has_secret, redact_logs, redacted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://KEY:SECRET@host:9000/x", "http://***@host:9000/x"),
        ("s3://k:s@bucket/a b and gs://t@b", "s3://***@bucket/a b and gs://***@b"),
        ("http://u:p@ss@host", "http://***@host"),
        ("https://h/x?X-Amz-Signature=abc&y=1", "https://h/x?X-Amz-Signature=***&y=1"),
        ("https://h/x?y=1&sig=zz&X-Amz-Credential=A/2020", "https://h/x?y=1&sig=***&X-Amz-Credential=***"),
        ("s3://b/x?secret_key=2 'next'", "s3://b/x?secret_key=*** 'next'"),
    ],
)
def test_a_secret_is_seen_and_hidden(text, shown):
    assert has_secret(text)
    assert redacted(text) == redacted(shown) == shown
    assert str(InputError(text)) == shown


@pytest.mark.parametrize("text", ["s3://bucket/a@b", "mail a@b.c", "s3://b/x?y=1", "a?key=1", "/folder/u:p@x"])
def test_what_only_looks_like_one_is_let_through(text):
    assert not has_secret(text)


def test_what_the_environment_holds_is_hidden(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")
    assert redacted("said wJalrXUtnFEMI") == "said ***"


def test_logs_and_their_tracebacks_are_redacted(caplog):
    before = logging.getLogRecordFactory()
    redact_logs()
    try:
        try:
            raise OSError("http://k:s@host")
        except OSError:
            logging.getLogger("x").exception("at %s", "s3://k:s@bucket")
    finally:
        logging.setLogRecordFactory(before)
    assert "s3://***@bucket" in caplog.text
    assert "http://***@host" in caplog.text
    assert "k:s" not in caplog.text
