"""The `mmcsal` command. Exit codes: 0 done, 2 bad input, 3 too many rejects, 4 resources that can never be had,
1 anything else; one line on stderr says what to do.
"""

import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmcsal.contracts.errors import InputError, MmcsalError

if TYPE_CHECKING:
    from mmcsal.config import RunConfig

app = typer.Typer(
    name="mmcsal",
    help="Decide which clips of an unlabeled corpus to label first.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

# `mmcsal demo`: a corpus that trains in two minutes on two cores.
DEMO_OVERRIDES = (
    "run_dir=runs/demo",
    "corpus={kind: synthetic, path: runs/demo-corpus}",
    "media={window_s: 2.0, num_frames: 16, frame_size_px: 64}",
    "ingest.samples_per_partition=32",
    "select.budget=32",
)

Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="dotted config overrides")]
CONFIG_HELP = "YAML file; given more than once, later ones win; default: the run's own, else built-in"
Config = Annotated[list[str] | None, typer.Option("--config", help=CONFIG_HELP)]
RunDirOption = Annotated[str | None, typer.Option("--run-dir", help="where the run keeps all it makes; path or URI")]
Corpus = Annotated[str | None, typer.Option("--corpus", help="folder of videos, or a .csv/.parquet manifest")]
BUDGET_HELP = "how many to label: a count, or a fraction below 1; or cost=120, what the batch may cost in all"
Budget = Annotated[str | None, typer.Option("--budget", help=BUDGET_HELP)]
Embeddings = Annotated[str | None, typer.Option("--embeddings", help="Parquet folder of any encoder")]
LABELS_HELP = ".csv or .parquet file with the columns sample_id and label; default: the labels of the manifest"
Labels = Annotated[str | None, typer.Option("--labels", help=LABELS_HELP)]
Redo = Annotated[str | None, typer.Option("--redo", metavar="STAGE", help="replace this stage and all after it")]
Check = Annotated[bool, typer.Option("--check", help="validate, print the plan, do nothing")]
PrintConfig = Annotated[bool, typer.Option("--print-config", help="print the resolved config, do nothing")]


@app.command()
def run(
    overrides: Overrides = None,
    corpus: Corpus = None,
    budget: Budget = None,
    config: Config = None,
    run_dir: RunDirOption = None,
    redo: Redo = None,
    check: Check = False,
    print_config: PrintConfig = False,
) -> None:
    """From a corpus to a ranked batch and a report: every stage, or those that are not committed yet."""
    given = [*_corpus_override(corpus), *_budget_override(budget)]
    _execute(None, given, overrides, config, run_dir, redo, check, print_config)


@app.command()
def ingest(
    overrides: Overrides = None,
    corpus: Corpus = None,
    config: Config = None,
    run_dir: RunDirOption = None,
    redo: Redo = None,
    check: Check = False,
    print_config: PrintConfig = False,
) -> None:
    """Scan the corpus and decode it into clips and rejects."""
    given = _corpus_override(corpus)
    _execute(["manifest", "ingest"], given, overrides, config, run_dir, redo, check, print_config)


def _add_stage(name: str, description: str) -> None:
    """A command of one stage that has no options of its own."""

    def command(
        overrides: Overrides = None,
        config: Config = None,
        run_dir: RunDirOption = None,
        redo: Redo = None,
        check: Check = False,
        print_config: PrintConfig = False,
    ) -> None:
        _execute([name], [], overrides, config, run_dir, redo, check, print_config)

    app.command(name, help=description)(command)


_add_stage("pretrain", "Train the encoders on the clips, without labels.")
_add_stage("embed", "Embed every clip with the trained encoders.")


@app.command()
def select(
    overrides: Overrides = None,
    embeddings: Embeddings = None,
    budget: Budget = None,
    out: Annotated[str | None, typer.Option("--out", help="run directory for the selection; with --embeddings")] = None,
    config: Config = None,
    run_dir: RunDirOption = None,
    redo: Redo = None,
    check: Check = False,
    print_config: PrintConfig = False,
) -> None:
    """Select the batch, from this run's embeddings or from a folder of embeddings made elsewhere."""
    given = [*_budget_override(budget), *_embeddings_override(embeddings, out, run_dir)]
    _execute(["select"], given, overrides, config, out or run_dir, redo, check, print_config)


_add_stage("report", "Write the report of a run.")


@app.command()
def evaluate(
    overrides: Overrides = None,
    labels: Labels = None,
    embeddings: Embeddings = None,
    out: Annotated[str | None, typer.Option("--out", help="run directory for the trials; with --embeddings")] = None,
    config: Config = None,
    run_dir: RunDirOption = None,
    redo: Redo = None,
    check: Check = False,
    print_config: PrintConfig = False,
) -> None:
    """Compare what labels buy with MMCSAL and with the methods that it replaces, on samples whose labels are known."""
    _judge("evaluate", overrides, labels, embeddings, out, config, run_dir, redo, check, print_config)


@app.command()
def tune(
    overrides: Overrides = None,
    labels: Labels = None,
    embeddings: Embeddings = None,
    out: Annotated[str | None, typer.Option("--out", help="run directory for the search; with --embeddings")] = None,
    config: Config = None,
    run_dir: RunDirOption = None,
    redo: Redo = None,
    check: Check = False,
    print_config: PrintConfig = False,
) -> None:
    """Search lambda_align, lambda_div or any key of `select`; with labels by what they buy, else by coverage."""
    _judge("tune", overrides, labels, embeddings, out, config, run_dir, redo, check, print_config)


@app.command()
def finetune(
    overrides: Overrides = None,
    labels: Labels = None,
    config: Config = None,
    run_dir: RunDirOption = None,
    redo: Redo = None,
    check: Check = False,
    print_config: PrintConfig = False,
) -> None:
    """Train the downstream classifier from labeled clips: both encoders and a linear layer on them side by side."""
    given = _labels_override("finetune", labels)
    _execute(["finetune"], given, overrides, config, run_dir, redo, check, print_config)


@app.command("next-round")
def next_round(
    labels: Annotated[str, typer.Option("--labels", help="labels of all rounds so far; .csv or .parquet")],
    overrides: Overrides = None,
    budget: Budget = None,
    config: Config = None,
    run_dir: RunDirOption = None,
    check: Check = False,
    print_config: PrintConfig = False,
) -> None:
    """Select once more, with the labels of the rounds so far: below the run, in `rounds/001` and so on."""
    from mmcsal.config import load_config, storage_of
    from mmcsal.distributed.run.rounds import config_of
    from mmcsal.storage.rundir import RunDir

    directory = RunDir(run_dir or "runs/default", storage_of(overrides or []))
    paths = config or _saved_config(run_dir, overrides or [])
    given = [f"select.labels={_quoted_path(labels)}", *_budget_override(budget)]
    loaded = load_config(paths, [*given, *(overrides or [])])
    _do(["select"], config_of(loaded, directory), None, check, print_config)


@app.command()
def demo(
    overrides: Overrides = None,
    run_dir: RunDirOption = None,
    redo: Redo = None,
    check: Check = False,
    print_config: PrintConfig = False,
) -> None:
    """Render a small corpus of real video files and run every stage on it."""
    _execute(None, DEMO_OVERRIDES, overrides, None, run_dir, redo, check, print_config, fresh=True)


@app.command()
def status(overrides: Overrides = None, run_dir: Annotated[str, typer.Option("--run-dir")] = "runs/default") -> None:
    """Print what a run has done and is doing."""
    from mmcsal.config import storage_of
    from mmcsal.storage.rundir import RunDir

    directory = RunDir(run_dir, storage_of(overrides or []))
    if not directory.exists("status.json"):
        raise InputError(f"no run in {run_dir!r}: there is no status.json; give the --run-dir of a run")
    content = directory.read_json("status.json")
    if content["state"] == "running" and not directory.is_held():
        content |= {
            "state": "stopped",
            "message": "its process is gone; the same command goes on from what is committed",
        }
    typer.echo(f"{content['state']} (updated {content['updated_at']}) {content.get('message', '')}".rstrip())
    for name, facts in content["stages"].items():
        typer.echo(f"  {name:<9} " + ", ".join(f"{key} {value}" for key, value in facts.items() if value != ""))


def _judge(
    stage: str,
    overrides: Sequence[str] | None,
    labels: str | None,
    embeddings: str | None,
    out: str | None,
    config: Sequence[str] | None,
    run_dir: str | None,
    redo: str | None,
    check: bool,
    print_config: bool,
) -> None:
    """A stage that needs embeddings, and labels to judge by."""
    given = [*_embeddings_override(embeddings, out, run_dir), *_labels_override("evaluate", labels)]
    _execute([stage], given, overrides, config, out or run_dir, redo, check, print_config)


def _execute(
    stages: Sequence[str] | None,
    given: Sequence[str],
    overrides: Sequence[str] | None,
    config_paths: Sequence[str] | None,
    run_dir: str | None,
    redo: str | None,
    check: bool,
    print_config: bool,
    *,
    fresh: bool = False,
) -> None:
    """Resolves the configuration, then checks, prints or runs; `stages` None = all of them."""
    from mmcsal.config import load_config

    all_overrides = [*given, *(overrides or []), *([f"run_dir={run_dir}"] if run_dir else [])]
    if not config_paths and not fresh:
        config_paths = _saved_config(run_dir, overrides or [])
    _do(stages, load_config(config_paths, all_overrides), redo, check, print_config)


def _do(stages: Sequence[str] | None, config: "RunConfig", redo: str | None, check: bool, print_config: bool) -> None:
    from mmcsal.config import to_yaml

    if print_config:
        typer.echo(to_yaml(config), nl=False)
        return
    from mmcsal.contracts.stages import STAGE_NAMES
    from mmcsal.distributed.run.command import check_stages, execute_stages

    stages = stages or STAGE_NAMES
    if redo is not None and redo not in stages:
        raise InputError(f"--redo {redo!r} is not a stage of this command; choose from {', '.join(stages)}")
    if check:
        for line in check_stages(config, stages, redo):
            typer.echo(line)
        return
    execute_stages(config, stages, redo)


def _saved_config(run_dir: str | None, overrides: Sequence[str]) -> list[str]:
    """The configuration that a run was made with, so that a later command need not repeat it."""
    from mmcsal.config import storage_of
    from mmcsal.storage.rundir import RunDir

    directory = RunDir(run_dir or "runs/default", storage_of(overrides))
    directory.check_reachable()
    return [f"{directory.uri}/config.yaml"] if directory.exists("config.yaml") else []


def _corpus_override(corpus: str | None) -> list[str]:
    return [] if corpus is None else [f"corpus={_quoted_path(corpus)}"]


def _embeddings_override(embeddings: str | None, out: str | None, run_dir: str | None) -> list[str]:
    if out and run_dir:
        raise InputError("--out and --run-dir name the same thing; give one of them")
    if embeddings and not (out or run_dir):
        raise InputError("--embeddings needs --out, the folder that the result is written to")
    return [f"embeddings={_quoted_path(embeddings)}"] if embeddings else []


def _labels_override(section: str, labels: str | None) -> list[str]:
    return [f"{section}.labels={_quoted_path(labels)}"] if labels else []


def _budget_override(budget: str | None) -> list[str]:
    if budget is None:
        return []
    return [f"select.budget.{budget}" if "=" in budget else f"select.budget={budget}"]  # cost=120 is {cost: 120}


def _quoted_path(path: str) -> str:
    """As a YAML string: a path may hold colons, braces and quotes.

    Absolute, since the configuration is saved with the run and used again from whatever folder.
    """
    absolute = path if "://" in path else str(Path(path).expanduser().absolute())
    return "'" + absolute.replace("'", "''") + "'"


def main(*arguments: Any) -> None:
    """Entry point of the command and of `jobs/`; `arguments` stand before those of the command line."""
    try:
        app([*arguments, *sys.argv[1:]], standalone_mode=True)
    except MmcsalError as error:
        print(f"mmcsal: error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except Exception as error:
        traceback.print_exc()
        print(f"mmcsal: unexpected {type(error).__name__}: {error}; the traceback is above", file=sys.stderr)
        sys.exit(1)
