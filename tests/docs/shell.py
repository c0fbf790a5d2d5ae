"""Whether a command that a page shows would be accepted: by the command line itself, the Makefile, pyproject.toml."""

import re
import shlex
import tomllib
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from ray.scripts.scripts import cli as ray_cli
from typer.main import get_command

from mmcsal.cli import app
from mmcsal.config import load_config
from tests.docs.pages import ROOT

CODE_FOLDER = "/opt/mmcsal/"  # of the image, which holds this repository
SUBSTITUTED = re.compile(r"\$\(([^()]*)\)")
EXPORTED = {"RAY_API_SERVER_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"}
KUBECTL_VERBS = {"apply", "create", "delete", "get", "logs", "port-forward"}


def commands_of(text: str) -> list[list[str]]:
    """The commands of a shell block, as words; lines that end in a backslash go on, and `$(...)` is one of its own."""
    text = re.sub(r"\\\n\s*", " ", text)
    lines = [*SUBSTITUTED.sub("-", text).splitlines(), *SUBSTITUTED.findall(text)]
    words = [shlex.split(line, comments=True) for line in lines]
    return [part for line in words for both in _split(line, "&&") for part in _split(both, "|") if part]


def check(words: list[str]) -> None:
    """Refuses a command of a kind that is not known, too: nothing that a page shows goes unchecked.

    Raises:
        AssertionError: what it names is not there.
        ClickException, TyperException, InputError: the command line refuses it.
    """
    program, *rest = [word.replace(CODE_FOLDER, "") for word in words]
    program = program.removeprefix(".venv/bin/")
    assert program in CHECKS, f"{shlex.join(words)}: no check of {program!r}; add one to {__name__}"
    CHECKS[program](rest)


def _check_mmcsal(words: list[str]) -> None:
    """The command exists and takes these options; the keys exist and take these values."""
    given = [word for word in words if word != "..."]
    if len(given) == 1:  # named in a sentence, without what it must have
        assert given[0] in get_command(app).commands, given  # pyright: ignore[reportAttributeAccessIssue]
        return
    params = _parsed(get_command(app), "mmcsal", given)
    budget = params.get("budget")
    overrides = [] if budget is None else [f"select.budget{'.' if '=' in budget else '='}{budget}"]
    load_config(None, [*overrides, *(params.get("overrides") or [])])
    for path in params.get("config") or []:
        _check_shipped(path)


def _check_python(words: list[str]) -> None:
    match words:
        case ["-m", "pytest", *paths]:
            assert paths
            assert all((ROOT / path).exists() for path in paths), paths
        case ["-m", module, *options] if module.startswith("benchmarks."):
            assert (ROOT / f"{module.replace('.', '/')}.py").is_file(), module
            assert set(options) <= {"--quick"}, options
        case ["-c", code]:
            compile(code, "page", "exec")
        case [script, *options] if script.startswith("jobs/"):
            [command] = re.findall(r'main\("([\w-]+)"\)', (ROOT / script).read_text())
            _check_mmcsal([command, *options])
        case [script, *options]:
            source = (ROOT / script).read_text()
            named = [option for option in options if option.startswith("--")]
            assert all(f'"{option}"' in source for option in named), (script, named)
        case _:
            raise AssertionError(f"python {shlex.join(words)}: no check of it")


def _check_make(targets: list[str]) -> None:
    known = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert targets
    assert set(targets) <= set(known), targets


def _check_pip(words: list[str]) -> None:
    verb, *rest = words
    assert verb == "install"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for word in rest:
        if (match := re.fullmatch(r"\.(?:\[([\w,]+)\])?", word)) and match[1]:
            assert set(match[1].split(",")) <= set(project["optional-dependencies"]), word
        elif word.endswith(".txt"):
            assert (ROOT / word).is_file(), word


def _check_ray(words: list[str]) -> None:
    own, inner = [*_split(words, "--"), []][:2]
    _parsed(ray_cli, "ray", [*own, "--", *inner] if inner else own)
    if inner:
        check(inner)
    for word in own:
        if word.endswith(".yaml"):
            assert (ROOT / word).is_file(), word


def _check_kubectl(words: list[str]) -> None:
    assert words[0] in KUBECTL_VERBS, words
    _check_files_of("-f", words)


def _check_docker(words: list[str]) -> None:
    assert words[0] in {"build", "push"}, words
    _check_files_of("-f", words)


def _check_export(words: list[str]) -> None:
    names = [word.split("=", 1)[0] for word in words if "=" in word]
    assert names
    assert set(names) <= EXPORTED, names


CHECKS: dict[str, Callable[[list[str]], None]] = {
    "mmcsal": _check_mmcsal,
    "python": _check_python,
    "make": _check_make,
    "pip": _check_pip,
    "ray": _check_ray,
    "kubectl": _check_kubectl,
    "docker": _check_docker,
    "export": _check_export,
    "base64": lambda words: None,
}


def _parsed(command: Any, name: str, words: list[str]) -> dict[str, Any]:
    """The parameters of the innermost command, as click parses them (Typer has a click of its own); nothing is run."""
    while (commands := getattr(command, "commands", None)) is not None:
        assert words, f"{name}: which command?"
        assert words[0] in commands, f"{name} {words[0]}: no such command"
        name, command, words = words[0], commands[words[0]], words[1:]
    return command.make_context(name, list(words)).params


def _check_shipped(path: str) -> None:
    """A file of the repository is there; one of the reader's own lies in runs/ or elsewhere."""
    assert path.startswith(("runs/", "s3://", "gs://")) or (ROOT / path).is_file(), path


def _check_files_of(option: str, words: list[str]) -> None:
    for name, path in pairwise(words):
        if name == option:
            assert (ROOT / path).is_file(), path


def _split(words: list[str], at: str) -> list[list[str]]:
    """The words before, between and after each `at`."""
    parts: list[list[str]] = [[]]
    for word in words:
        if word == at:
            parts.append([])
        else:
            parts[-1].append(word)
    return parts
