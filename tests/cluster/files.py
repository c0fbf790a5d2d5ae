"""The files of cluster/, as its tests read them."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
KUBERAY_FILES = sorted((CLUSTER / "kuberay").glob("*.yaml"))
LAUNCHER_FILES = sorted((CLUSTER / "launcher").glob("*.yaml"))
CODE_FOLDER = "/opt/mmcsal"  # of the image
REMOVED = object()


def pinned_version(package: str) -> str:
    match = re.search(rf"^{package}==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert match, f"{package} is not pinned"
    return match[1]


def documents(path: Path, *, with_options: bool = False) -> list[dict[str, Any]]:
    """The documents of a YAML file; `with_options`: the lines that are commented out, `#key: value`, put in."""
    text = path.read_text()
    if with_options:
        text = re.sub(r"^( *)#(?=[^# ])", r"\1", text, flags=re.MULTILINE)
    return list(yaml.safe_load_all(text))


def custom_resource(path: Path, *, with_options: bool = False) -> dict[str, Any]:
    """The one RayJob or RayCluster of a file."""
    [document] = [d for d in documents(path, with_options=with_options) if d["apiVersion"] == "ray.io/v1"]
    return document


def spoiled(document: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The document with the value at a path of keys replaced, or taken out."""
    document = json.loads(json.dumps(document))  # what YAML's anchors share becomes several
    *parents, last = [int(key) if key.isdigit() else key for key in path.split("/")]
    part: Any = document
    for key in parents:
        part = part[key]
    if value is REMOVED:
        del part[last]
    else:
        part[last] = value
    return document
