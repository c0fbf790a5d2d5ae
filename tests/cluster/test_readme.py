"""cluster/README.md names every setting to change, and its commands are ones that the command line accepts."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mmcsal.cli import app
from mmcsal.config import load_config
from mmcsal.contracts.errors import InputError
from tests.cluster.files import CLUSTER, CODE_FOLDER, KUBERAY_FILES, LAUNCHER_FILES, ROOT, custom_resource
from tests.cluster.kuberay import cluster_spec, groups, ray_container

README = (CLUSTER / "README.md").read_text()
FILES = [*KUBERAY_FILES, *LAUNCHER_FILES]
MARKED = re.compile(r"^\s*(?:- )?([\w./-]+):.*# CHANGE")


def _marked() -> set[tuple[str, str]]:
    """File and key of every setting that is marked to be changed."""
    lines = [(path, line) for path in FILES for line in path.read_text().splitlines() if "# CHANGE" in line]
    found = {(str(path.relative_to(CLUSTER)), line, MARKED.match(line)) for path, line in lines}
    assert [line for _, line, match in found if match is None] == []  # every mark stands behind a key
    return {(name, match[1]) for name, _, match in found if match is not None}


def _named() -> set[tuple[str, str]]:
    """File and key of every row of the table."""
    rows = [line.strip("| ").split(" | ") for line in README.split("## Settings to change")[1].splitlines()]
    cells = [row for row in rows if len(row) == 3 and row[0].startswith("`")]
    return {(name, key.strip("`")) for names, key, _ in cells for name in re.findall(r"`([^`]+)`", names)}


def test_the_table_names_all_that_is_marked_and_nothing_else():
    assert len(_marked()) > 20
    assert _named() == _marked()


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}_{path.stem}")
def test_what_only_the_reader_can_know_is_marked(path: Path):
    """Names that stand for the reader's own are on a marked line, or below it, or commented out as an option."""
    marked_indent = None
    for line in path.read_text().splitlines():
        indent = len(line) - len(line.lstrip())
        if marked_indent is not None and indent <= marked_indent:
            marked_indent = None
        if "# CHANGE" in line and marked_indent is None:
            marked_indent = indent
        placeholder = re.search("my-bucket|my-registry|my-project|111122223333|ami-0123", line)
        assert not placeholder or marked_indent is not None, line


def _commands() -> Iterator[str]:
    """Every command that calls one of jobs/: of the manifest, and of the README."""
    rayjob = next(path for path in KUBERAY_FILES if path.stem == "rayjob")
    yield custom_resource(rayjob)["spec"]["entrypoint"]
    blocks = re.findall(r"```\n(.*?)```", README, re.DOTALL)
    for line in "\n".join(blocks).replace("\\\n", " ").splitlines():
        if "jobs/" in line:
            yield line.split(" -- ")[-1]


def _printed_config(command: str) -> str:
    """What the command line makes of it.

    Raises: InputError: a key that is unknown or a value that does not fit.
    """
    python, script, *arguments = shlex.split(command.replace(CODE_FOLDER, str(ROOT)))
    assert python == "python"
    [name] = re.findall(r'main\("(\w+)"\)', (ROOT / script).read_text())
    assert arguments[arguments.index("--config") + 1].endswith("ray_config.yaml")
    arguments = [str(ROOT / "ray_config.yaml") if a == "ray_config.yaml" else a for a in arguments if a != "--check"]
    result = CliRunner().invoke(app, [name, *arguments, "--print-config"], standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.output


def test_there_are_commands_for_the_shipped_code_and_for_that_of_the_image():
    scripts = [shlex.split(command)[1] for command in _commands()]
    assert {"jobs/run_all.py", f"{CODE_FOLDER}/jobs/run_all.py"} <= set(scripts)


@pytest.mark.parametrize("command", list(_commands()))
def test_a_command_is_accepted_by_the_command_line(command: str):
    printed = _printed_config(command)
    assert "run_dir: s3://my-bucket/runs/mine" in printed
    assert "path: s3://my-bucket/clips" in printed
    assert "budget: 500" in printed


@pytest.mark.parametrize(
    "mistake", ["cluster.use_gpu=true", "storage.endpoint=http://minio:9000", "cluster.wait_s=soon"]
)
def test_a_mistake_in_an_entrypoint_is_refused(mistake: str):
    with pytest.raises(InputError, match=re.escape(mistake.split("=")[0])):
        _printed_config(f"{next(_commands())} {mistake}")


def test_the_manifest_asks_for_all_that_its_groups_may_scale_to():
    """A group at zero does not show what it may become."""
    rayjob = custom_resource(next(path for path in KUBERAY_FILES if path.stem == "rayjob"))
    by_name = dict(groups(cluster_spec(rayjob)))
    decode, gpu = by_name["cpu-decode"], by_name["gpu"]
    overrides = [part for part in rayjob["spec"]["entrypoint"].split() if re.match(r"[a-z_]+\.[a-z_.]+=", part)]
    config = load_config(None, overrides)
    assert config.cluster.use_gpus is True
    assert config.ingest.num_workers == decode["maxReplicas"] * int(ray_container(decode)["resources"]["limits"]["cpu"])
    gpus = int(ray_container(gpu)["resources"]["limits"]["nvidia.com/gpu"])
    assert config.embed.num_workers == gpu["maxReplicas"] * gpus
    assert config.pretrain.fewest_workers <= gpu["maxReplicas"] * gpus


def test_every_key_that_the_readme_names_exists():
    sections = "cluster|storage|pretrain|ingest|embed"
    keys = set(re.findall(rf"`((?:{sections})\.\w+)`", README))
    assert len(keys) > 8
    config = load_config(None)
    for key in keys:
        section, name = key.split(".")
        assert hasattr(getattr(config, section), name), key
