"""The `mmcsal` command. Exit codes: 0 done, 2 bad input, 3 too many rejects, 4 resources that can never be had,
1 anything else; one line on stderr says what to do.
"""

import inspect
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unicodedata import category

try:
    import typer
except ModuleNotFoundError as error:
    raise SystemExit("mmcsal: error: the command needs more than the library: pip install 'mmcsal[run]'") from error

from mmcsal.contracts.errors import InputError, MmcsalError, on_one_line
from mmcsal.import_path import leave_working_folder_out
from mmcsal.redaction import redact_logs, redacted
from mmcsal.storage import DEFAULT_RUN_DIR

# Everything else is imported where it is used: `--help` and a wrong path answer at once.
if TYPE_CHECKING:
    from mmcsal.config import RunConfig
    from mmcsal.config_source import Content, Override
    from mmcsal.storage.rundir import RunDir

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


def _option(default: Any, name: str, description: str | None, **settings: Any) -> Any:
    return field(default=default, metadata={"typer": typer.Option(default, name, help=description, **settings)})


NO_TEXT = ("Cc", "Cs")  # of Unicode: control characters, and bytes that are no UTF-8
NUMBER, DECIMAL = re.compile(r"0|[1-9][0-9]{0,15}"), re.compile(r"[0-9]{0,15}\.[0-9]{1,20}")
LABELS_HELP = ".csv or .parquet file with the columns sample_id and label; default: the labels of the manifest"
BUDGET_HELP = "how many to label: a count, or a fraction below 1; or cost=120, what the batch may cost in all"
CONFIG_HELP = "YAML file; given more than once, later ones win; default: the run's own, else built-in"
OVERRIDES = typer.Argument(None, metavar="[KEY=VALUE]...", help="dotted config overrides")


@dataclass(frozen=True)
class Options:
    """What may stand behind a command, in the order of `--help`; each command takes some of it."""

    overrides: list[str] | None = field(default=None, metadata={"typer": OVERRIDES})
    corpus: str | None = _option(None, "--corpus", "folder of videos, or a manifest: .csv, .tsv, .jsonl, .parquet")
    labels: str | None = _option(None, "--labels", LABELS_HELP)
    embeddings: str | None = _option(None, "--embeddings", "Parquet folder of any encoder")
    budget: str | None = _option(None, "--budget", BUDGET_HELP)
    out: str | None = _option(None, "--out", "run directory for the selection; with --embeddings")
    config: list[str] | None = _option(None, "--config", CONFIG_HELP)  # noqa: RUF009
    run_dir: str | None = _option(None, "--run-dir", "where the run keeps all it makes; path or URI")
    redo: str | None = _option(None, "--redo", "replace this stage and all after it", metavar="STAGE")
    check: bool = _option(False, "--check", "validate, print the plan, do nothing")
    print_config: bool = _option(False, "--print-config", "print the resolved config, do nothing")


COMMON = ("overrides", "config", "run_dir", "redo", "check", "print_config")
Command = Callable[[Options], None]


def _command(*names: str, called: str | None = None, **others: Any) -> Callable[[Command], Command]:
    """Adds a command that takes the named options, and `others`, which it declares differently.

    typer reads a function's signature; so the command gets that of the options that it takes.
    """
    parameters = [
        inspect.Parameter(f.name, inspect.Parameter.KEYWORD_ONLY, default=declared, annotation=f.type)
        for f in fields(Options)
        if (declared := others.get(f.name, f.metadata["typer"] if f.name in names else None)) is not None
    ]

    def add(function: Command) -> Command:
        def command(**given: Any) -> None:
            _check_texts(given)
            function(Options(**given))

        command.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess]
        app.command(called or function.__name__, help=function.__doc__)(command)
        return function

    return add


def _check_texts(given: dict[str, Any]) -> None:
    """Refuses what no option means, whatever the command.

    Raises:
        InputError: an option is empty, or no text.
    """
    for name, value in given.items():
        option = "KEY=VALUE" if name == "overrides" else f"--{name.replace('_', '-')}"
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and not text.strip():
                raise InputError(f"{option} is empty; give it a value, or leave it out")
            allowed = "\n\t" if name == "overrides" else ""  # YAML may have lines
            if isinstance(text, str) and any(category(c) in NO_TEXT and c not in allowed for c in text):
                raise InputError(f"{option} {text!r} holds control characters, or no text at all; give it plain text")


@_command("corpus", "budget", *COMMON)
def run(options: Options) -> None:
    """From a corpus to a ranked batch and a report: every stage, or those that are not committed yet."""
    _execute(None, options)


@_command("corpus", *COMMON)
def ingest(options: Options) -> None:
    """Scan the corpus and decode it into clips and rejects."""
    _execute(["manifest", "ingest"], options)


@_command(*COMMON)
def pretrain(options: Options) -> None:
    """Train the encoders on the clips, without labels."""
    _execute(["pretrain"], options)


@_command(*COMMON)
def embed(options: Options) -> None:
    """Embed every clip with the trained encoders."""
    _execute(["embed"], options)


@_command("embeddings", "budget", "out", *COMMON)
def select(options: Options) -> None:
    """Select the batch, from this run's embeddings or from a folder of embeddings made elsewhere."""
    _execute(["select"], options)


@_command(*COMMON)
def report(options: Options) -> None:
    """Write the report of a run."""
    _execute(["report"], options)


OUT_OF_TRIALS = typer.Option(None, "--out", help="run directory for the trials; with --embeddings")
OUT_OF_SEARCH = typer.Option(None, "--out", help="run directory for the search; with --embeddings")


@_command("labels", "embeddings", *COMMON, out=OUT_OF_TRIALS)
def evaluate(options: Options) -> None:
    """Compare what labels buy with MMCSAL and with the methods that it replaces, on samples whose labels are known."""
    _execute(["evaluate"], options, labels_of="evaluate")


@_command("labels", "embeddings", *COMMON, out=OUT_OF_SEARCH)
def tune(options: Options) -> None:
    """Search lambda_align, lambda_div or any key of `select`; with labels by what they buy, else by coverage."""
    _execute(["tune"], options, labels_of="evaluate")


@_command("labels", *COMMON)
def finetune(options: Options) -> None:
    """Train the downstream classifier from labeled clips: both encoders and a linear layer on them side by side."""
    _execute(["finetune"], options, labels_of="finetune")


ALL_LABELS = typer.Option(..., "--labels", help="labels of all rounds so far; .csv or .parquet")
WITHOUT_REDO = tuple(name for name in COMMON if name != "redo")


@_command("budget", *WITHOUT_REDO, called="next-round", labels=ALL_LABELS)
def next_round(options: Options) -> None:
    """Select once more, with the labels of the rounds so far: below the run, in `rounds/001` and so on."""
    directory = _run_dir(options)
    paths = options.config or _saved_config(options)
    content = _content(paths, [*_overrides(options, "select"), *(options.overrides or [])], options)
    from mmcsal.config import validated
    from mmcsal.distributed.run.rounds import config_of

    _do(["select"], config_of(validated(content, paths), directory), options)


@_command("overrides", "run_dir", "redo", "check", "print_config")
def demo(options: Options) -> None:
    """Render a small corpus of real video files and run every stage on it."""
    _execute(None, options, presets=DEMO_OVERRIDES, config_paths=())


@_command("overrides", run_dir=typer.Option(DEFAULT_RUN_DIR, "--run-dir"))
def status(options: Options) -> None:
    """Print what a run has done and is doing."""
    others = [override for override in options.overrides or [] if not override.strip().startswith("storage.")]
    if others:
        raise InputError(f"status takes overrides of storage.* alone, not {others[0]!r}; leave it out")
    directory = _run_dir(options)
    if not directory.exists("status.json"):
        raise InputError(f"no run in {options.run_dir!r}: there is no status.json; give the --run-dir of a run")
    content = directory.read_json("status.json")
    stages, state = content.get("stages"), content.get("state")
    if not isinstance(state, str) or not isinstance(stages, dict) or not all(map(_is_part, stages.values())):
        raise InputError(
            f"{directory.path('status.json')} is not what mmcsal has written: expected a state, and facts by stage; "
            "delete it, the next command writes it anew"
        )
    if state == "running" and not directory.is_held():
        state = "stopped"
        content["message"] = "its process is gone; the same command goes on from what is committed"
    told = f"{state} (updated {content.get('updated_at', '?')}) {content.get('message', '')}"
    typer.echo(redacted(on_one_line(told)))
    for name, facts in stages.items():
        said = ", ".join(f"{key} {value}" for key, value in facts.items() if value != "")
        typer.echo(f"  {on_one_line(name):<9} {on_one_line(redacted(said))}")


def _is_part(value: Any) -> bool:
    return isinstance(value, dict)


def _execute(
    stages: Sequence[str] | None,
    options: Options,
    *,
    labels_of: str = "",
    presets: Sequence[str] = (),
    config_paths: Sequence[str] | None = None,
) -> None:
    """Resolves the configuration, then checks, prints or runs.

    Args:
        stages: None = all of them.
        labels_of: the section of the configuration that `--labels` belongs to.
        presets: overrides below those that the user gives.
        config_paths: None = those of the user, or the one that the run was made with.
    """
    given, run_dir = _overrides(options, labels_of), options.out or options.run_dir
    overrides = [*presets, *given, *(options.overrides or []), *([("run_dir", run_dir)] if run_dir else [])]
    paths = (options.config or _saved_config(options)) if config_paths is None else config_paths
    content = _content(paths, overrides, options, reads_corpus=stages is None or "manifest" in stages)
    from mmcsal.config import validated

    _do(stages, validated(content, paths), options)


def _content(
    paths: Sequence[str], overrides: Sequence["Override"], options: Options, *, reads_corpus: bool = False
) -> "Content":
    """What the configuration says; inputs that it names and that are not there are told before anything is loaded."""
    from mmcsal.config_source import read_content
    from mmcsal.early_checks import check_corpus_exists, check_embeddings_exist

    content = read_content(paths, overrides, of_run=not options.config)
    if not options.print_config:
        check_embeddings_exist(content)
    if reads_corpus and not (options.print_config or options.check or content.get("embeddings")):
        check_corpus_exists(content)
    return content


def _do(stages: Sequence[str] | None, config: "RunConfig", options: Options) -> None:
    from mmcsal.config import to_yaml

    if options.print_config:
        typer.echo(to_yaml(config), nl=False)
        return
    from mmcsal.contracts.stages import STAGE_NAMES
    from mmcsal.distributed.run.command import check_stages, execute_stages

    stages = stages or STAGE_NAMES
    if options.redo is not None and options.redo not in stages:
        raise InputError(f"--redo {options.redo!r} is not a stage of this command; choose from {', '.join(stages)}")
    if options.check:
        for line in check_stages(config, stages, options.redo):
            typer.echo(line)
        return
    execute_stages(config, stages, options.redo)


def _run_dir(options: Options) -> "RunDir":
    from mmcsal.config_source import storage_of
    from mmcsal.storage.rundir import RunDir

    return RunDir(options.out or options.run_dir or DEFAULT_RUN_DIR, storage_of(options.overrides or []))


def _saved_config(options: Options) -> list[str]:
    """The configuration that a run was made with, so that a later command need not repeat it."""
    directory = _run_dir(options)
    directory.check_reachable()
    return [f"{directory.uri}/config.yaml"] if directory.exists("config.yaml") else []


def _overrides(options: Options, labels_of: str) -> list["Override"]:
    """What the options say, as values of the configuration: a path is what it says, whatever YAML would make of it."""
    if options.out and options.run_dir:
        raise InputError("--out and --run-dir name the same thing; give one of them")
    if options.embeddings and not (options.out or options.run_dir):
        raise InputError("--embeddings needs --out, the folder that the result is written to")
    paths = {"corpus": options.corpus, "embeddings": options.embeddings, f"{labels_of}.labels": options.labels}
    given: list[Override] = [(key, _absolute(path)) for key, path in paths.items() if path]
    return given if options.budget is None else [*given, ("select.budget", _budget(options.budget))]


def _budget(text: str) -> Any:
    """A count, a fraction, or {cost: total}.

    Raises:
        InputError: it is none of them.
    """
    number = text.removeprefix("cost=")
    is_whole, is_plain = NUMBER.fullmatch(number) is not None, DECIMAL.fullmatch(number) is not None
    if not (is_whole or is_plain):
        raise InputError(
            f"select.budget: --budget {text!r} is no budget; expected a count such as 500, a fraction below 1 such as "
            "0.05, or cost=120"
        )
    value = int(number) if is_whole else float(number)
    return value if number == text else {"cost": value}


def _absolute(path: str) -> str:
    """The configuration is saved with the run, and used again from whatever folder."""
    return path if "://" in path else str(Path(path).expanduser().absolute())


def main(*arguments: Any) -> None:
    """Entry point of the command and of `jobs/`; `arguments` stand before those of the command line."""
    leave_working_folder_out()
    redact_logs()
    try:
        app([*arguments, *sys.argv[1:]], standalone_mode=True)
    except MmcsalError as error:
        print(f"mmcsal: error: {on_one_line(error)}", file=sys.stderr)
        sys.exit(error.exit_code)
    except Exception as error:
        print(redacted(traceback.format_exc()), file=sys.stderr)
        said = redacted(on_one_line(error))
        print(f"mmcsal: unexpected {type(error).__name__}: {said}; the traceback is above", file=sys.stderr)
        sys.exit(1)
