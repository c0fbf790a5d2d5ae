"""What `_STARTED.json` and `_COMMITTED.json` in a run directory say; anybody may have written them."""

import json
import re
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

from pyarrow import fs

from mmcsal.contracts.errors import InputError, on_one_line

STARTED, COMMITTED = "_STARTED.json", "_COMMITTED.json"
_ATTEMPT = re.compile(r"attempt-[0-9]{8}T[0-9]{6}-[0-9a-f]{6}")
_FOLDER = re.compile(r"[a-z_]+")
CONTENT_SUFFIXES = ("parquet", "pt", "html")  # of files that a receipt counts
RECEIPT_TYPES: dict[str, type | tuple[type, ...]] = {
    "settings": dict,
    "digest": str,
    "contents": dict,
    "summary": dict,
    "warnings": list,
    "committed_at": str,
    "wall_s": (int, float),
}


@dataclass(frozen=True)
class Started:
    """Which attempt of a folder is the newest, and with what settings it began."""

    attempt: str | None  # None: begun before there were attempts, or written in place
    settings: dict[str, Any]
    owner: str  # the folder whose `_COMMITTED.json` says that the attempt is complete
    before: str | None = None  # the attempt that was complete when this one began

    def to_json(self) -> bytes:
        """As `from_json` reads it."""
        return json.dumps(asdict(self), indent=2).encode()

    @classmethod
    def from_json(cls, data: bytes, path: str) -> "Started":
        """What a folder's marker says.

        Raises:
            InputError: it is not what `to_json` writes; attempts and owner are names, never paths.
        """
        content = parsed(data, path)
        attempt, before = content.get("attempt"), content.get("before")
        owner = content.get("owner", path.split("/")[-2])
        settings = content.get("settings", content)
        is_ours = (
            all(name is None or (isinstance(name, str) and _ATTEMPT.fullmatch(name)) for name in (attempt, before))
            and isinstance(owner, str)
            and (_FOLDER.fullmatch(owner) or owner == path.split("/")[-2])
            and isinstance(settings, dict)
        )
        if not is_ours:
            raise _not_ours(path, "attempts named as mmcsal names them, and settings")
        return cls(attempt, settings, owner, before)


def checked_receipt(content: dict[str, Any], path: str) -> dict[str, Any]:
    """A receipt, whose fields are of the types that a stage writes.

    Raises:
        InputError: one is not.
    """
    for key, kind in RECEIPT_TYPES.items():
        if key in content and not isinstance(content[key], kind):
            raise _not_ours(path, f"another type of {key!r} than {type(content[key]).__name__}")
    if not all(_FOLDER.fullmatch(name) and isinstance(c, dict) for name, c in content.get("contents", {}).items()):
        raise _not_ours(path, "'contents' by folder")
    return content


def parsed(data: bytes, path: str) -> dict[str, Any]:
    """A JSON object.

    Raises:
        InputError: it is none; with the path of its file.
    """
    try:
        content = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _not_ours(path, f"JSON ({on_one_line(error)})") from error
    if not isinstance(content, dict):
        raise _not_ours(path, "a JSON object")
    return content


def _not_ours(path: str, expected: str) -> InputError:
    what = "delete its folder and run the stage again" if path.endswith((STARTED, COMMITTED)) else "delete it"
    return InputError(f"{path} is not what mmcsal has written: expected {expected}; {what}, or give another --run-dir")


def content_of(infos: Sequence[fs.FileInfo]) -> dict[str, Any]:
    """Of the files of a stage in one folder: how many, how large, and a digest of their names and sizes."""
    sizes = sorted((i.base_name, i.size) for i in infos if i.is_file and i.extension in CONTENT_SUFFIXES)
    digest = blake2b(json.dumps(sizes).encode(), digest_size=8).hexdigest()
    return {"num_files": len(sizes), "num_bytes": sum(size for _, size in sizes), "digest": digest}


def described(content: dict[str, Any]) -> str:
    """For a sentence."""
    return f"{content.get('num_files')} files of {content.get('num_bytes')} bytes"


def new_attempt() -> str:
    """A name that no other attempt has."""
    return f"attempt-{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
