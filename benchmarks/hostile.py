"""What hostile files and slipped commands do to mmcsal: more than two hundred of them, over all commands and stages.

Every input is of `hostile_inputs`, `hostile_media` or `hostile_stages`. A command is tried in a fork of this process
(imports are shared) by a user without rights; the media are tried together, in one corpus, by one `mmcsal ingest` on
Ray. Harm is: a file made, changed or removed outside the run directory of the command; a byte sent to the network; a
secret told; more than 2 GiB of memory; more than 60 s; a traceback; an exit code that is not documented; anything in a
run directory that a refused command has made, changed or taken away (what a stage tells of itself that began and failed
is not that); a sample that is neither clip nor reject.
With root the commands run as `nobody`, without a network (any packet is seen) and with no view of root's home; without
root as this user, and what could not be watched is told.
"""

import hashlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.hostile_inputs import NAMES, SECRET, Case, Scene, cases, check_names, prepare
from benchmarks.hostile_media import SETTINGS, outcomes_of
from benchmarks.hostile_stages import first_case, later_cases
from benchmarks.outcome import arguments as benchmark_arguments
from benchmarks.outcome import finish

LIMIT_S = 60.0
MEMORY_LIMIT_BYTES = 2 * 2**30
NOBODY = 65534
NUM_WANTED, NUM_WANTED_QUICK = 200, 60
DOCUMENTED = {0, 2, 3, 4}  # 1 is "anything else", which no input may be
# What a run tells of its last command. An attempt that failed is begun beside the one that counts; a report that could
# not be made again is there, but no longer called complete.
TOLD = {".lock", "status.json", "_STARTED.json", "report/_COMMITTED.json"}
FOLDER = "folder"
LINK = "watched"  # where packets would leave by
INSIDE = "MMCSAL_HOSTILE_INSIDE"


@dataclass
class Outcome:
    """Of one input: what was harmed, if anything, and how it ended."""

    case: Case
    code: int | None = None
    said: str = ""
    harms: list[str] = field(default_factory=list)

    @property
    def refused(self) -> bool:
        return self.code in DOCUMENTED - {0}


def main() -> None:
    args = benchmark_arguments(__doc__)
    if os.geteuid() == 0 and INSIDE not in os.environ and shutil.which("unshare"):
        os.environ[INSIDE] = "1"
        command = [sys.executable, "-m", "benchmarks.hostile", *sys.argv[1:]]
        sys.exit(subprocess.run(["unshare", "--mount", "--net", *command]).returncode)
    has_network_watch = _isolate()
    import mmcsal.distributed.run.command  # noqa: F401 (before the forks, which share it)

    folder = Path(tempfile.mkdtemp(prefix="hostile-"))
    try:
        folder.chmod(0o755)
        scene = Scene(folder)
        prepare(scene)
        _give_to_nobody(folder)
        outcomes = [*_base(scene), *_tried(scene, args.quick), *_media(scene)]
        outcomes += [] if args.quick else _stages(scene)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    _finish(outcomes, has_network_watch, args)


def _finish(outcomes: list[Outcome], has_network_watch: bool, args: object) -> None:
    by_kind: dict[str, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        by_kind[outcome.case.kind].append(outcome)
    for kind, of_kind in by_kind.items():
        refused, harmed = sum(o.refused for o in of_kind), sum(bool(o.harms) for o in of_kind)
        print(f"{kind:<24} tried {len(of_kind):>3}, refused clearly {refused:>3}, harm done {harmed}")
    for outcome in outcomes:
        for harm in outcome.harms:
            print(f"HARM {outcome.case.kind}: {outcome.case.name}: {harm}")
    num_harmed = sum(bool(outcome.harms) for outcome in outcomes)
    quick = getattr(args, "quick", False)
    wanted = NUM_WANTED_QUICK if quick else NUM_WANTED
    checks = {f"at least {wanted} inputs": len(outcomes) >= wanted, "no harm": num_harmed == 0}
    figures = {
        "num_tried": len(outcomes),
        "num_refused": sum(outcome.refused for outcome in outcomes),
        "num_harmed": num_harmed,
        "by_kind": {kind: len(of_kind) for kind, of_kind in by_kind.items()},
        "as_nobody": os.geteuid() == 0,
        "network_watched": has_network_watch,
    }
    watched = "watched" if has_network_watch else "not watched"
    line = f"hostile inputs {len(outcomes)}, harm done by {num_harmed}; network {watched}"
    finish("hostile", checks, figures, line, args)  # pyright: ignore[reportArgumentType]


# --- the place ---


def _isolate() -> bool:
    """A network that leads nowhere and counts, and an interpreter that nobody can start; whether the first is there."""
    if INSIDE not in os.environ:
        print("not root: the user of this process is used, and its connections are not watched")
        return False
    home = Path(sys.executable).resolve()
    if not all(parent.stat().st_mode & 0o001 for parent in home.parents):
        _show_interpreter(home)
    try:
        for command in (
            "ip link set lo up",
            f"ip link add {LINK} type veth peer name far",
            f"ip link set {LINK} up",
            "ip link set far up",
            f"ip addr add 10.99.0.1/24 dev {LINK}",
            "ip route add default via 10.99.0.2",
        ):
            subprocess.run(command.split(), check=True, capture_output=True)
        for name in (LINK, "far"):  # neighbours are looked for without being asked
            Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1")
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"the network cannot be watched: {error}")
        return False
    return True


def _show_interpreter(interpreter: Path) -> None:
    """Where root's home holds the interpreter: an empty home in its place, with that one folder in it."""
    closed = next(p for p in reversed(interpreter.parents) if not p.stat().st_mode & 0o001)
    inner = closed / interpreter.relative_to(closed).parts[0]
    with tempfile.TemporaryDirectory() as aside:
        subprocess.run(["mount", "--bind", str(inner), aside], check=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(closed)], check=True)
        inner.mkdir()
        subprocess.run(["mount", "--bind", aside, str(inner)], check=True)
        subprocess.run(["umount", aside], check=True)


def _give_to_nobody(folder: Path) -> None:
    if os.geteuid() == 0:
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)


# --- one command ---


def _tried(scene: Scene, quick: bool) -> list[Outcome]:
    chosen = [case for n, case in enumerate(cases(scene)) if not quick or n % 4 == 0]
    return [_try(case, scene) for case in chosen]


def _try(case: Case, scene: Scene, limit_s: float = LIMIT_S, may_change: bool = False) -> Outcome:
    """Runs the command of a case, and looks for what it has done."""
    run_dir = scene.fresh(case)
    _give_to_nobody(scene.folder / "tried")
    outside, inside, given, sent = _tree(scene.outside), _tree(run_dir), _with_secret(run_dir), _packets()
    outcome = Outcome(case)
    outcome.code, outcome.said, memory_bytes = _run(
        case.arguments(scene, run_dir), case.cwd or scene.work, scene, limit_s
    )
    if outcome.code is None:
        outcome.harms.append(f"still running after {limit_s:g} s")
    elif outcome.code not in DOCUMENTED:
        outcome.harms.append(f"exit code {outcome.code}: {outcome.said[-300:]!r}")
    if "Traceback (most recent call last)" in outcome.said:
        outcome.harms.append(f"a traceback: {outcome.said[-300:]!r}")
    if len(outcome.said) > 20_000:
        outcome.harms.append(f"an answer of {len(outcome.said)} characters")
    if memory_bytes > MEMORY_LIMIT_BYTES:
        outcome.harms.append(f"{memory_bytes / 2**30:.1f} GiB of memory")
    if changed := _difference(outside, _tree(scene.outside)):
        outcome.harms.append(f"outside: {changed}")
    if outcome.refused and not may_change and (changed := _difference(inside, _tree(run_dir), TOLD)):
        outcome.harms.append(f"a refused command changed {changed}")
    if _packets() != sent:
        outcome.harms.append("it sent packets")
    if SECRET in outcome.said or _with_secret(run_dir) - given:
        outcome.harms.append("a secret was told")
    return outcome


def _run(command: list[str], cwd: Path, scene: Scene, limit_s: float) -> tuple[int | None, str, int]:
    """Exit code (None = had to be killed), what was said, and the most memory that was taken."""
    said = scene.folder / "said.txt"
    with said.open("w+b") as output:
        pid = os.fork()
        if pid == 0:
            _be_the_command(command, cwd, scene, output.fileno())
        end_s = time.monotonic() + limit_s
        done, status, usage = os.wait4(pid, os.WNOHANG)
        while not done and time.monotonic() < end_s:
            time.sleep(0.02)
            done, status, usage = os.wait4(pid, os.WNOHANG)
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        if not done:
            _, status, usage = os.wait4(pid, 0)
        output.seek(0)
        text = output.read().decode(errors="replace")
    return os.waitstatus_to_exitcode(status) if done else None, text, usage.ru_maxrss * 1024


def _be_the_command(command: list[str], cwd: Path, scene: Scene, output: int) -> None:
    """In the fork: a user without rights, in a folder of data; never returns."""
    code = 1
    try:
        os.setsid()
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        os.environ |= {
            "HOME": str(scene.home),
            "TMPDIR": str(scene.tmp),
            "RAY_TMPDIR": str(scene.tmp),
            "NUMBA_CACHE_DIR": str(scene.tmp),
        }
        os.chdir(cwd)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        from mmcsal.cli import main as command_main

        sys.argv = ["mmcsal", *command]
        command_main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException as error:
        print(f"Traceback (most recent call last): {error!r}", file=sys.stderr)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


# --- what is watched ---


def _tree(folder: Path) -> dict[str, str]:
    """Every path below a folder and what it is; no link is followed."""
    found = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = "link to " + os.readlink(path)
        elif path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            found[name] = FOLDER if path.is_dir() else "other"
    return found


def _difference(before: dict[str, str], after: dict[str, str], told: Collection[str] = ()) -> list[str]:
    """Paths that came, went or changed, but for files that are `told` of by path or by name, and their new folders."""
    changed = [path for path in sorted(before.keys() | after.keys()) if before.get(path) != after.get(path)]
    if told:
        changed = [path for path in changed if path in before or after[path] != FOLDER]
    return [path for path in changed if path not in told and os.path.basename(path) not in told][:5]


def _packets() -> int:
    try:
        return int(Path(f"/sys/class/net/{LINK}/statistics/tx_packets").read_text())
    except OSError:
        return 0


def _with_secret(folder: Path) -> set[Path]:
    """Files that tell the secret."""
    files = [p for p in folder.rglob("*") if p.is_file() and not p.is_symlink() and p.stat().st_size < 2**20]
    return {path for path in files if SECRET.encode() in path.read_bytes()}


# --- what needs Ray ---


def _base(scene: Scene) -> list[Outcome]:
    """A selection among samples of hostile names, and its report; other cases begin with copies of it."""
    select = Case("names", "select", lambda s, _: s.select_command(s.base))
    report = Case("names", "report", lambda s, _: ["report", "--run-dir", str(s.base)])
    made = [_try(case, scene, limit_s=600, may_change=True) for case in (select, report)]
    if failed := [outcome for outcome in made if outcome.code != 0]:
        raise RuntimeError(f"the run that others begin with: {failed[0].said[-2000:]}")
    made[1].harms += check_names(scene)
    return [*made, *(Outcome(Case("names", repr(name), _nothing), 0) for name in NAMES)]


def _media(scene: Scene) -> list[Outcome]:
    """One ingest of all hostile media, called in the folder that they and the Python files lie in."""
    run_dir = scene.folder / "ingested"
    ingest = Case("media", "ingest", lambda s, _: ["ingest", "--run-dir", str(run_dir), *SETTINGS], cwd=scene.corpus)
    ran = _try(ingest, scene, limit_s=600, may_change=True)
    scene.base = run_dir
    found = outcomes_of(run_dir, scene.corpus, scene.outside)
    return [ran, *(Outcome(Case(k, n, _nothing), 3 if is_reject else 0, harms=h) for k, n, is_reject, h in found)]


def _stages(scene: Scene) -> list[Outcome]:
    """What training, embedding and the commands beside them make of what others have written."""
    trained = _try(first_case(scene.base), scene, limit_s=600, may_change=True)
    if trained.code != 0:
        raise RuntimeError(f"the training that others begin with: {trained.said[-2000:]}")
    return [trained, *(_try(case, scene) for case in later_cases(scene))]


def _nothing(scene: Scene, run_dir: Path) -> list[str]:
    return []


if __name__ == "__main__":
    main()
