"""Files of the kinds that people have, read right or refused by name: right and wrong by kind; all have to be right.

Each file is made by ffmpeg of a film whose frames and sounds spell their own time; what a clip spells is compared with
what a player would show. Nothing is needed but this project and ffmpeg.
"""

import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import av.logging

from benchmarks.outcome import arguments, finish
from benchmarks.spelled.cases import has_ffmpeg, make, make_films
from benchmarks.spelled.judge import judge
from benchmarks.spelled.kinds import all_cases


def main() -> None:
    args = arguments(__doc__)
    if not has_ffmpeg():
        sys.exit("ffmpeg is not installed; apt-get install ffmpeg")
    av.logging.set_level(av.logging.PANIC)
    cases = all_cases()
    if args.quick:
        cases = list({case.kind: case for case in reversed(cases)}.values())[::-1]
    right: dict[str, list[bool]] = defaultdict(list)
    start_s = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        make_films(Path(folder))
        for case in cases:
            try:
                wrong = judge(case, make(case, Path(folder), Path(folder)))
            except RuntimeError as error:  # this ffmpeg lacks the encoder: not tried is not right
                wrong = [f"not made: {error}"]
            right[case.kind].append(not wrong)
            if wrong:
                print(f"{case.name}: {'; '.join(wrong)}", flush=True)
    by_kind = {kind: {"right": sum(r), "wrong": len(r) - sum(r)} for kind, r in right.items()}
    for kind, counts in by_kind.items():
        print(f"{kind:22} {counts['right']:3} right {counts['wrong']:3} wrong")
    num_right = sum(counts["right"] for counts in by_kind.values())
    figures = {
        "num_cases": len(cases),
        "num_right": num_right,
        "kinds": by_kind,
        "seconds": time.perf_counter() - start_s,
    }
    line = f"media files read right or refused by name: {num_right} of {len(cases)} (target: all)"
    finish("media", {"all right": num_right == len(cases)}, figures, line, args)


if __name__ == "__main__":
    main()
