"""Every command that README and docs show, in a block or in a sentence, is one that would be accepted."""

import shlex
from pathlib import Path

import click
import numpy as np
import pytest
from typer.exceptions import TyperException

from mmcsal.contracts.errors import InputError
from tests.docs.pages import PAGES, ROOT, blocks, code_spans, name_of
from tests.docs.shell import check, commands_of

SHELL = {"", "sh", "bash", "console"}
OTHERS = {"python", "sql", "text", "yaml"}
# A span in a sentence is a command where it begins like this; `mmcsal` alone is a name.
BEGINNINGS = (
    "mmcsal ",
    "python -m benchmarks.",
    "python jobs/",
    "python cluster/",
    "make ",
    "pip install ",
    "ray job submit ",
)
REFUSALS = (AssertionError, click.ClickException, TyperException, InputError, OSError, SyntaxError)


def _of_blocks() -> list[tuple[str, str]]:
    texts = [(name_of(page), block.text) for page in PAGES for block in blocks(page) if block.language in SHELL]
    return [(page, shlex.join(words)) for page, text in texts for words in commands_of(text)]


def _of_sentences() -> list[tuple[str, str]]:
    spans = [(name_of(page), span) for page in PAGES for span in code_spans(page)]
    return [(page, span) for page, span in spans if span.startswith(BEGINNINGS)]


def test_there_are_some():
    assert len(_of_blocks()) > 20
    assert len(_of_sentences()) > 20


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_block_has_a_language_that_is_checked_or_is_no_command(page: Path):
    assert {block.language for block in blocks(page)} <= SHELL | OTHERS


@pytest.mark.parametrize(("page", "command"), sorted({*_of_blocks(), *_of_sentences()}))
def test_a_command_would_be_accepted(page: str, command: str):
    for words in commands_of(command):
        check(words)


@pytest.mark.parametrize(
    "mistake",
    [
        "mmcsal runn",
        "mmcsal runn --budget 3",
        "mmcsal run --corpse clips",
        "mmcsal run selct.budget=3",
        "mmcsal run --budget none",
        "mmcsal run --config no_such.yaml",
        "mmcsal next-round --run-dir runs/mine",
        "python -m benchmarks.nothing",
        "python -m benchmarks.merge --quicker",
        "python -m pytest tests/nothing",
        "python jobs/nothing.py",
        "python jobs/run_all.py --nothing",
        "python cluster/local_cluster.py --nothing 3",
        "python -c 'print('",
        "python",
        "make nothing",
        "pip install -e '.[nothing]'",
        "ray job submitt -- python jobs/run_all.py",
        "ray job submit --nothing -- python jobs/run_all.py",
        "ray job submit --working-dir . -- python jobs/run_all.py --nothing",
        "ray up cluster/launcher/nothing.yaml",
        "kubectl apply -f cluster/nothing.yaml",
        "docker build -f cluster/Nothing .",
        "export RAY_AUTH_MOOD=token",
        "make lint && make nothing",
        "curl example.org",
    ],
)
def test_a_mistake_is_seen(mistake: str):
    last = commands_of(mistake)[-1]
    with pytest.raises(REFUSALS):
        check(last)


def test_the_python_of_the_readme_runs():
    [block] = [block for block in blocks(ROOT / "README.md") if block.language == "python"]
    video_embeddings, audio_embeddings = np.random.default_rng(0).normal(size=(2, 400, 8))
    ids = [f"clip-{i}" for i in range(400)]
    names = {"video_embeddings": video_embeddings, "audio_embeddings": audio_embeddings, "ids": ids}
    exec(block.text, names)
    assert len(names["batch"].table) == 200
