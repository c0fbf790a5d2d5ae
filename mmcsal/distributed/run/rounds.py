"""Rounds: select -> label -> train, again. Each is a selection of its own below the run, `rounds/001/selection`.

A round sees the labels so far: they cover what lies around them, warm starts learn from them, and what was picked in
an earlier round is never picked again, labeled or not.
"""

from dataclasses import dataclass

from mmcsal.config import RunConfig
from mmcsal.contracts.errors import InputError
from mmcsal.contracts.stages import EMBED
from mmcsal.storage.rundir import RunDir

FOLDER = "rounds"


@dataclass(frozen=True)
class Round:
    """The next round of a run."""

    number: int  # from 1; the run's own selection is round 0
    uri: str  # its run directory
    earlier: tuple[str, ...]  # the selections of the rounds before


def next_round(run_dir: RunDir) -> Round:
    """The round after the last one that is committed; one that was begun and killed goes on.

    Raises:
        InputError: the run has no selection yet.
    """
    if run_dir.committed("selection") is None:
        raise InputError(
            f"next-round: {run_dir.uri} has no selection yet; run `mmcsal run` or `mmcsal select` first, and label it"
        )
    earlier, number = [f"{run_dir.uri}/selection"], 1
    while (this := RunDir(_uri(run_dir, number), run_dir.storage)).committed("selection") is not None:
        earlier.append(f"{this.uri}/selection")
        number += 1
    return Round(number, _uri(run_dir, number), tuple(earlier))


def config_of(config: RunConfig, run_dir: RunDir) -> RunConfig:
    """The configuration of the next round.

    Args:
        config: of the run, with the labels so far, the budget of the round and what else the caller asks for.

    Raises:
        InputError: see `next_round`.
    """
    this = next_round(run_dir)
    select = config.select.model_copy(update={"earlier": this.earlier, "round": this.number})
    has_own = config.embeddings is None
    gone = run_dir.changed_content(EMBED.folder) if has_own else None
    if gone is not None:
        raise InputError(f"next-round: {EMBED.lost(gone, run_dir.uri)}")
    return config.model_copy(
        update={
            "run_dir": this.uri,
            "embeddings": f"{run_dir.uri}/embeddings" if has_own else config.embeddings,
            "manifest": f"{run_dir.uri}/manifest" if has_own else config.manifest,
            "select": select,
        }
    )


def _uri(run_dir: RunDir, number: int) -> str:
    run_dir.check_inside(f"{FOLDER}/{number:03d}")
    return f"{run_dir.uri}/{FOLDER}/{number:03d}"
