"""What reading a source gives: its MANIFEST, a count of all that is left out of it, and notes for the reader."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

MAX_GROUPS = 30  # a folder of "log.0001", "log.0002", ... has as many suffixes as files
OTHERS = "others"


@dataclass(frozen=True)
class Scan:
    """One reading of a source; `left_out` counts by a name of the group, such as "hidden" or ".txt"."""

    manifest: pa.Table
    left_out: Mapping[str, int]
    notes: tuple[str, ...] = ()

    def warnings(self) -> list[str]:
        """Sentences without a full stop, for the log and the report."""
        return [*([f"left out: {counted(self.left_out)}"] if self.left_out else []), *self.notes]


def grouped(counts: Counter[str]) -> dict[str, int]:
    """The largest groups, in a fixed order; what is in none of them is counted together."""
    in_order = sorted(counts.items(), key=lambda group: (-group[1], group[0]))
    kept, rest = dict(in_order[:MAX_GROUPS]), sum(count for _, count in in_order[MAX_GROUPS:])
    return {**kept, OTHERS: rest} if rest else kept


def counted(groups: Mapping[str, int]) -> str:
    """Such as `12 hidden, 3 .txt`."""
    return ", ".join(f"{count} {name}" for name, count in groups.items())
