"""What `ray job submit --working-dir .` ships, by Ray's own packaging."""

import shutil
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
from ray._private.ray_constants import get_runtime_env_default_excludes
from ray._private.runtime_env.packaging import create_package, get_uri_for_directory

from tests.cluster.files import ROOT
from tests.helpers import TIME_LIMIT_S

MAX_PACKAGE_BYTES = 2 * 2**20
LEFT_BEHIND = ("tests", "benchmarks", "docs", "cluster", "runs", ".git", ".venv", ".ruff_cache")


def _packed(folder: Path, target: Path) -> Path:
    create_package(str(folder), target, include_gitignore=True, excludes=get_runtime_env_default_excludes())
    return target


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _packed(ROOT, tmp_path_factory.mktemp("package") / "package.zip")


@pytest.fixture(scope="module")
def names(package: Path) -> set[str]:
    with ZipFile(package) as archive:
        return set(archive.namelist())


def test_the_package_is_small(package: Path):
    assert package.stat().st_size < MAX_PACKAGE_BYTES


def test_all_that_a_job_needs_is_shipped(names: set[str]):
    needed = {"pyproject.toml", "ray_config.yaml", "mmcsal/cli.py", "jobs/run_all.py"}
    code = [path for folder in ("mmcsal", "jobs") for path in (ROOT / folder).rglob("*")]
    needed |= {str(path.relative_to(ROOT)) for path in code if path.suffix in (".py", ".jinja")}
    assert any(name.endswith(".jinja") for name in needed)
    assert needed <= names


def test_nothing_else_is_shipped(names: set[str]):
    assert {name.split("/")[0] for name in names if "/" in name} == {"mmcsal", "jobs"}
    at_the_top = {name for name in names if "/" not in name}
    assert {name for name in at_the_top if not name.endswith(".yaml")} == {"pyproject.toml"}
    assert [name for name in names if "__pycache__" in name or name.endswith(".pyc")] == []


def test_what_users_have_beside_the_code_stays_there_and_their_configuration_travels(tmp_path: Path):
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in (".gitignore", ".rayignore"):
        shutil.copy(ROOT / name, checkout / name)
    for folder in (*LEFT_BEHIND, "mmcsal", "my_videos"):
        (checkout / folder).mkdir()
        (checkout / folder / "file.py").write_text("")
    for name in ("mine.yaml", ".env", "notes.txt"):
        (checkout / name).write_text("")
    with ZipFile(_packed(checkout, tmp_path / "package.zip")) as archive:
        assert set(archive.namelist()) == {"mine.yaml", "mmcsal/file.py"}


def test_the_same_code_is_the_same_package():
    """Ray names a package by its content, so nothing is sent twice."""
    excludes = get_runtime_env_default_excludes()
    uris = {get_uri_for_directory(str(ROOT), include_gitignore=True, excludes=excludes) for _ in range(2)}
    assert len(uris) == 1


def test_a_job_starts_from_the_package_alone(package: Path, tmp_path: Path):
    with ZipFile(package) as archive:
        archive.extractall(tmp_path)
    arguments = ["jobs/run_all.py", "--config", "ray_config.yaml", "--print-config"]
    command = [sys.executable, *arguments]
    alone = {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=alone, capture_output=True, timeout=TIME_LIMIT_S)
    assert done.returncode == 0, done.stderr.decode()
    assert b"run_dir: runs/default" in done.stdout
