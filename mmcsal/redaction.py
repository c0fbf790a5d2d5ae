"""Secrets that somebody has written into a URI: refused where they are given, and never shown.

What is configured is saved with the run, and stands in reports, logs and errors; credentials come from the environment.
"""

import logging
import os
import re
from typing import Any

HIDDEN = "***"
_USER = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)[^/?#\s'\"]*@")
_QUERY = re.compile(
    r"([?&;](?:[\w-]*(?:signature|credential|secret|token|password|passwd|api_?key|access_?key)[\w-]*|sig|key|pwd)=)"
    r"(?!\*\*\*)[^&;#\s'\"]+",
    re.IGNORECASE,
)
ENVIRONMENT = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "RAY_AUTH_TOKEN")
MIN_SECRET_LENGTH = 8  # a shorter one would be found in ordinary words


def has_secret(text: str) -> bool:
    """Whether a URI in the text carries a user, a password, a key or a signature."""
    return "://" in text and (_USER.search(text) is not None or _QUERY.search(text) is not None)


def redacted(text: str) -> str:
    """The text without what is secret in it: in URIs, and what the environment holds."""
    text = _QUERY.sub(
        rf"\g<1>{HIDDEN}", _USER.sub(rf"\g<1>{HIDDEN}@", text).replace(f"{HIDDEN}@{HIDDEN}@", f"{HIDDEN}@")
    )
    for name in ENVIRONMENT:
        value = os.environ.get(name, "")
        if len(value) >= MIN_SECRET_LENGTH:
            text = text.replace(value, HIDDEN)
    return text


def redact_logs() -> None:
    """From here on every record of every logger in this process is redacted, its traceback too."""
    make = logging.getLogRecordFactory()
    if getattr(make, "redacts", False):
        return

    def make_redacted(*arguments: Any, **named: Any) -> logging.LogRecord:
        record = make(*arguments, **named)
        try:
            record.msg, record.args = redacted(record.getMessage()), ()
        except (TypeError, ValueError):  # whoever shows it says what is wrong with it
            record.msg = redacted(str(record.msg))
        if record.exc_info:
            record.exc_text = redacted(logging.Formatter().formatException(record.exc_info))
        return record

    make_redacted.redacts = True  # pyright: ignore[reportFunctionMemberAccess]
    logging.setLogRecordFactory(make_redacted)
