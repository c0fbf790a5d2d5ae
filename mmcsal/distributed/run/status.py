"""How far a stage is: a bar on a terminal, plain lines in a log, and `status.json` in the run directory."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from mmcsal.contracts.stages import NAME_WIDTH
from mmcsal.distributed.cluster.telemetry import STAGE_UNITS, STAGE_UNITS_DONE, record
from mmcsal.redaction import redacted
from mmcsal.storage.markers import now
from mmcsal.storage.rundir import RunDir

SECONDS_BETWEEN_LINES = 10.0
SECONDS_BETWEEN_WRITES = 2.0


class StageProgress:
    """Counts the units of one stage; called as `progress(num_done, num_total, note)`."""

    def __init__(self, status: "Status", name: str) -> None:
        self._status, self._name = status, name
        self._last_line_s = time.monotonic()
        self._bar: Progress | None = None
        if status.console.is_terminal:
            columns = [TextColumn(f"{{task.description:<{NAME_WIDTH}}}"), BarColumn(), MofNCompleteColumn()]
            columns += [TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[note]}")]
            self._bar = Progress(*columns, console=status.console, transient=True)
            self._task = self._bar.add_task(name, total=None, note="")
            self._bar.start()

    def __call__(self, num_done: int, num_total: int, note: str = "") -> None:
        self._status.update_stage(self._name, num_done=num_done, num_total=num_total, note=note)
        record(STAGE_UNITS_DONE, num_done, stage=self._name)
        record(STAGE_UNITS, num_total, stage=self._name)
        if self._bar is not None:
            self._bar.update(self._task, completed=num_done, total=num_total, note=note)
        elif time.monotonic() - self._last_line_s >= SECONDS_BETWEEN_LINES:
            self._last_line_s = time.monotonic()
            self._status.say(f"{self._name}: {num_done} of {num_total}{'; ' + note if note else ''}")

    def stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()


class Status:
    """What the run is doing, on the console and in `status.json`."""

    def __init__(self, run_dir: RunDir) -> None:
        self.console = Console(file=sys.stderr, highlight=False, soft_wrap=True)
        self._run_dir = run_dir
        self._last_write_s = 0.0
        self._content: dict[str, Any] = {"state": "running", "started_at": now(), "stages": {}}

    def say(self, line: str) -> None:
        """One line: on a terminal as it is, in a log with the time in front."""
        stamp = "" if self.console.is_terminal else time.strftime("%H:%M:%S ")
        self.console.print(stamp + redacted(line), markup=False)

    @contextmanager
    def stage(self, name: str) -> Iterator[StageProgress]:
        self.update_stage(name, state="running", started_at=now(), write=True)
        progress = StageProgress(self, name)
        try:
            yield progress
        finally:
            progress.stop()

    def update_stage(self, name: str, *, write: bool = False, **facts: Any) -> None:
        self._content["stages"].setdefault(name, {}).update(facts)
        if write:
            self._write()
        elif time.monotonic() - self._last_write_s > SECONDS_BETWEEN_WRITES:
            with suppress(OSError):  # it is for watching; what the stage itself cannot write is an error of its own
                self._write()

    def finish(self, state: str, exit_code: int, message: str = "") -> None:
        """The last word of the run: `done` or `failed`."""
        self._content |= {"state": state, "exit_code": exit_code, "message": message, "finished_at": now()}
        self._write()

    def _write(self) -> None:
        self._last_write_s = time.monotonic()
        self._run_dir.write_json({**self._content, "updated_at": now()}, "status.json")
