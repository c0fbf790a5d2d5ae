"""What is installed: the wheel and its extras, what every part of the code imports, and what is said of the package."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest
import yaml

import mmcsal

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
GROUPS = {"": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}
OWN = {"mmcsal", "jobs", "cluster", "benchmarks", "tests"}
# Distributions whose import has another name.
DISTRIBUTION_OF = {
    "PIL": "pillow",
    "apricot": "apricot-select",
    "faiss": "faiss-cpu",
    "griffe": "griffelib",
    "sklearn": "scikit-learn",
    "skvideo": "scikit-video",
    "submodlib": "submodlib-py",
    "yaml": "pyyaml",
}
# Metrics that need numpy alone.
OF_A_SPACE = ("arrays", "effective_rank", "gap", "pair_distance", "retrieval", "uniformity")
# Which groups of dependencies a part of the code may count on; the longest prefix of its path decides.
GROUPS_OF = {
    "mmcsal": ("", "run"),
    "mmcsal/__init__.py": ("",),
    "mmcsal/contracts": ("",),
    "mmcsal/storage": ("",),
    "mmcsal/media/backends/torchcodec.py": ("", "run", "torchcodec"),
    "mmcsal/selection": ("", "notebook"),
    **{f"mmcsal/metrics/{name}.py": ("",) for name in OF_A_SPACE},
    **{f"mmcsal/{name}": ("", "train") for name in ("losses", "metrics", "models", "tensors", "training")},
    "jobs": ("", "run"),
    "cluster": ("", "run"),
    "benchmarks": ("", "run", "bench"),
    "tests": ("", "run", "dev"),
}
# Declared for what is not an import: programs, plugins, what moto's server and scikit-video's films ask for.
NOT_IMPORTED = {
    "basedpyright", "flask", "flask-cors", "import-linter", "ipykernel", "mkdocs", "mkdocs-material", "mkdocstrings",
    "moto", "pre-commit", "pytest-timeout", "pytest-xdist", "ruff", "scikit-video",
}  # fmt: skip


def distributions(group: str) -> set[str]:
    """The names that a group declares, with those of the groups that it names itself."""
    found: set[str] = set()
    for requirement in GROUPS[group]:
        name, extras = re.match(r"([\w.-]+)(?:\[([\w,]*)\])?", requirement).groups()
        found |= distributions(extras) if name == "mmcsal" else {name.lower()}
    return found


def imports_of(path: Path) -> Iterator[str]:
    """The distributions that a file imports, at its top or late."""
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        for top in {name.split(".")[0] for name in names} - OWN - sys.stdlib_module_names:
            yield DISTRIBUTION_OF.get(top, top).lower().replace("_", "-")


def files() -> list[Path]:
    return [path for top in sorted(OWN) for path in sorted((ROOT / top).rglob("*.py"))]


def groups_of(path: Path) -> tuple[str, ...]:
    place = path.relative_to(ROOT).as_posix()
    return GROUPS_OF[max((p for p in GROUPS_OF if place == p or place.startswith(f"{p}/")), key=len)]


def test_every_library_imported_is_declared_where_it_is_used():
    declared = {groups: set().union(*map(distributions, groups)) for groups in set(GROUPS_OF.values())}
    undeclared = {
        f"{path.relative_to(ROOT)} imports {name}, which is in none of {groups_of(path)}"
        for path in files()
        for name in imports_of(path)
        if name not in declared[groups_of(path)]
    }
    assert undeclared == set()


def test_every_library_declared_is_imported():
    imported = {name for path in files() for name in imports_of(path)}
    assert set().union(*map(distributions, GROUPS)) - imported == NOT_IMPORTED


def test_everything_declared_is_pinned():
    pins = {line.split("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert set().union(*map(distributions, GROUPS)) - pins == set()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy: a build leaves its folders beside the code."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "mmcsal", source / "mmcsal", ignore=shutil.ignore_patterns("__pycache__"))
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", target, source]
    subprocess.run(build, check=True)
    [built] = target.glob("*.whl")
    return built


def test_the_wheel_holds_all_files_of_the_package(wheel):
    with ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("mmcsal/")}
    here = {path for path in (ROOT / "mmcsal").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert packed == {path.relative_to(ROOT).as_posix() for path in here}
    assert "mmcsal/py.typed" in packed
    assert {name.rsplit("/")[-1] for name in packed if name.endswith(".jinja")} >= {"report.html.jinja"}


WITHOUT_EXTRAS = """
import importlib.util
for absent in ("torch", "ray", "pandas", "scipy", "typer", "yaml", "av"):
    assert importlib.util.find_spec(absent) is None, f"{absent} is installed"

import numpy as np
import mmcsal
from mmcsal.metrics import effective_rank, modality_gap, positive_pair_distance, recall_at_1, uniformity

rng = np.random.default_rng(0)
a_ND = rng.normal(size=(200, 8))
v_ND = a_ND + rng.normal(size=(200, 8))
batch = mmcsal.select_pairs(a_ND, v_ND, 10, sample_ids=np.arange(1000, 1200), labeled=[1007])
assert len(set(batch.sample_ids)) == 10
assert "labeled already" in batch.explain(1007)
assert batch.summary["coverage"] > batch.summary["coverage_random"]
assert "<table>" in batch._repr_html_()
unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a_ND, v_ND)]
assert 0 < positive_pair_distance(*unit) < 2 and 0 < modality_gap(*unit) < 1 and 5 < effective_rank(unit[0]) <= 8
assert recall_at_1(*unit) > 0.1 and -4 < uniformity(unit[0]) < -1
for call, told in ((lambda: mmcsal.metrics.mix, "mmcsal[train]"), (batch.to_pandas, "mmcsal[notebook]")):
    try:
        call()
        raise SystemExit(f"nothing told of {told}")
    except ImportError as error:
        assert told in str(error), error
print("selected with", mmcsal.__version__)
"""


def test_the_wheel_selects_and_measures_without_torch_and_ray(wheel, tmp_path):
    uv, python = Path(sys.executable).with_name("uv"), tmp_path / "env" / "bin" / "python"
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, tmp_path / "env"], check=True)
    install = [uv, "pip", "install", "-q", "--python", python, "--constraint", ROOT / "constraints.txt", wheel]
    subprocess.run(install, check=True)
    done = subprocess.run([python, "-c", WITHOUT_EXTRAS], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.strip() == f"selected with {PROJECT['version']}", done.stderr
    command = subprocess.run([python.with_name("mmcsal"), "--help"], capture_output=True, text=True)
    assert command.returncode == 1
    assert command.stderr == "mmcsal: error: the command needs more than the library: pip install 'mmcsal[run]'\n"


def test_the_version_is_the_same_wherever_it_is_told():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    released = re.search(r"^## (\S+) \((\S+)\)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert released is not None
    assert (PROJECT["version"], citation["date-released"]) == released.groups()
    assert mmcsal.__version__ == citation["version"] == PROJECT["version"]
    pages = [path for kind in ("md", "yaml") for path in (ROOT / "cluster").rglob(f"*.{kind}")]
    tags = {tag for page in pages for tag in re.findall(r"my-registry/mmcsal:([\w.]+)", page.read_text())}
    assert tags == {PROJECT["version"]}


def test_the_citation_has_what_its_format_asks_for():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["cff-version"] == "1.2.0"
    assert citation["license"] == PROJECT["license"]
    [paper] = citation["references"]
    assert {"type", "title", "authors"} <= set(paper)
    assert "2412.09126" in paper["url"]


def test_commits_run_what_make_lint_runs():
    [repo] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repo["repo"] == "local"
    assert [(hook["entry"], hook["language"]) for hook in repo["hooks"]] == [("make lint", "system")]
    assert re.search(r"^lint:", (ROOT / "Makefile").read_text(), re.MULTILINE)
