"""Submitted as a job by test_local_cluster: tasks that tell where they run, and end when their file appears."""

import os
import sys
import time
from pathlib import Path

import ray


@ray.remote(num_cpus=1, max_retries=5)
def wait_for_file(folder: Path, number: int) -> str:
    name = os.environ["MMCSAL_LOCAL_NODE"]
    (folder / f"started-{number}-{name}").touch()
    while not (folder / "go").exists():
        time.sleep(0.1)
    return name


def main(folder: Path, num_tasks: int) -> None:
    ray.init()
    names = ray.get([wait_for_file.remote(folder, n) for n in range(num_tasks)])
    print("ran on", *sorted(names), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
