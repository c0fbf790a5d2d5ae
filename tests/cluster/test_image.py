"""The Dockerfile copies what is there, and the context holds nothing else."""

import re

from cluster.local_cluster import LOSS_SETTINGS
from tests.cluster.files import CLUSTER, CODE_FOLDER, ROOT

DOCKERFILE = (CLUSTER / "Dockerfile").read_text()
INSTRUCTIONS = [
    line.split(maxsplit=1)
    for line in re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE)).splitlines()
    if line
]


def _arguments(instruction: str) -> list[str]:
    return [arguments for name, arguments in INSTRUCTIONS if name == instruction]


def _sources() -> list[str]:
    return [source for arguments in _arguments("COPY") for source in arguments.split()[:-1]]


class DockerIgnore:
    """The rules of a .dockerignore: the last pattern that matches a path or a folder above it decides."""

    def __init__(self, text: str) -> None:
        lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
        self.rules = [(not line.startswith("!"), self._compiled(line.lstrip("!").strip("/"))) for line in lines]

    def ignores(self, path: str) -> bool:
        parts = path.split("/")
        candidates = ["/".join(parts[: i + 1]) for i in range(len(parts))]
        ignored = False
        for ignores, pattern in self.rules:
            if any(pattern.fullmatch(candidate) for candidate in candidates):
                ignored = ignores
        return ignored

    @staticmethod
    def _compiled(pattern: str) -> re.Pattern[str]:
        escaped = re.escape(pattern).replace(r"\*\*/", "(?:.*/)?").replace(r"\*\*", ".*").replace(r"\*", "[^/]*")
        return re.compile(escaped)


IGNORE = DockerIgnore((ROOT / ".dockerignore").read_text())


def test_the_ignore_rules_are_read_as_docker_does():
    ignore = DockerIgnore("# comment\n*\n!src\n**/*.pyc\n!src/keep.pyc\ndata/*.csv\n")
    assert [path for path in ("a.py", ".git/HEAD", "src/a.pyc", "src/b/c.pyc") if not ignore.ignores(path)] == []
    assert [path for path in ("src", "src/a.py", "src/b/c.py", "src/keep.pyc") if ignore.ignores(path)] == []


def test_every_source_of_the_image_exists_and_is_in_the_context():
    sources = _sources()
    assert {"mmcsal", "jobs", "constraints.txt", "pyproject.toml", "ray_config.yaml"} <= set(sources)
    for source in sources:
        assert (ROOT / source).exists(), source
        assert not IGNORE.ignores(source), source


def test_all_code_is_in_the_context_and_little_else():
    code = [p for folder in ("mmcsal", "jobs") for p in (ROOT / folder).rglob("*") if p.suffix in (".py", ".jinja")]
    assert [path for path in code if IGNORE.ignores(str(path.relative_to(ROOT)))] == []
    for path in (".git/config", ".venv/bin/python", "tests/conftest.py", "runs/demo/status.json", "cluster/Dockerfile"):
        assert IGNORE.ignores(path), path
    assert IGNORE.ignores("mmcsal/media/__pycache__/decode.cpython-311.pyc")


def test_whatever_packaging_reads_is_copied():
    assert {"README.md", "LICENSE"} <= set(_sources())
    assert 'readme = "README.md"' in (ROOT / "pyproject.toml").read_text()


def test_every_installation_keeps_to_the_pins():
    installs = [install for run in _arguments("RUN") for install in re.findall(r"pip install ([^&]*)", run)]
    assert len(installs) == 3
    with_dependencies = [install for install in installs if "--no-deps" not in install]
    assert all("-c constraints.txt" in install for install in with_dependencies)
    assert any("'.[run]'" in install for install in with_dependencies)


def test_dependencies_are_installed_before_the_code_is_copied():
    install = DOCKERFILE.index("'.[run]'")
    assert install < DOCKERFILE.index("COPY mmcsal")
    assert DOCKERFILE.index("torch torchaudio") < install


def test_build_arguments_are_declared_before_their_use():
    used = {m[1]: m.start() for m in reversed(list(re.finditer(r"\$\{([A-Z_]+)", DOCKERFILE)))}
    assert set(used) == {"BASE_IMAGE", "UID", "TORCH_INDEX_URL"}
    for name, place in used.items():
        declared = re.search(rf"^ARG {name}=", DOCKERFILE, re.MULTILINE)
        assert declared, name
        assert declared.start() < place, name
    assert INSTRUCTIONS[0] == ["ARG", "BASE_IMAGE=python:3.11-slim"]


def test_the_container_is_not_root_and_has_what_ray_and_kuberay_call():
    assert _arguments("USER") == ["mmcsal"]
    assert "--uid" in " ".join(_arguments("RUN"))
    [packages] = re.findall(r"apt-get install([^&]*)", " ".join(_arguments("RUN")))
    assert {"bash", "wget", "rsync", "openssh-client"} <= set(packages.split())
    assert not _arguments("ENTRYPOINT")  # KubeRay and the launcher bring their own command


def test_the_code_lies_where_entrypoints_look_for_it():
    assert _arguments("WORKDIR")[0] == CODE_FOLDER


def test_a_cut_link_is_noticed_as_soon_as_in_the_tests_of_faults():
    environment = dict(pair.split("=", 1) for arguments in _arguments("ENV") for pair in arguments.split())
    told = {name: value for name, value in LOSS_SETTINGS.items() if name.startswith("grpc_client_keepalive")}
    assert told == {name: int(environment[f"RAY_{name}"]) for name in told}


def test_a_working_folder_is_not_where_code_comes_from_and_the_base_can_be_fixed():
    assert any("PYTHONSAFEPATH=1" in arguments for arguments in _arguments("ENV"))
    assert "--build-arg BASE_IMAGE=python:3.11-slim@sha256:" in DOCKERFILE
