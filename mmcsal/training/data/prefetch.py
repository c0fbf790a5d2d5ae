"""Batches made in the background while the step before runs."""

import queue
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
SECONDS_BETWEEN_LOOKS = 0.1


def ahead(make: Callable[[], Iterator[Item]], *, depth: int = 2) -> Iterator[Item]:
    """The items of `make()`, drawn by a thread of its own, up to `depth` before they are asked for.

    The order is theirs. The thread ends with the last item, with an error (which is raised here), or when the caller
    leaves off. Reading Parquet and copying arrays let go of the interpreter, so that one process is enough.
    """
    ready: queue.Queue[tuple[bool, Item | BaseException | None]] = queue.Queue(maxsize=depth)
    stop = threading.Event()

    def put(is_item: bool, what: Item | BaseException | None) -> None:
        while not stop.is_set():
            try:
                ready.put((is_item, what), timeout=SECONDS_BETWEEN_LOOKS)
                break
            except queue.Full:
                continue

    def draw() -> None:
        try:
            for item in make():
                put(True, item)
                if stop.is_set():
                    return
            put(False, None)
        except BaseException as error:
            put(False, error)

    thread = threading.Thread(target=draw, daemon=True, name="prefetch")
    thread.start()
    try:
        while True:
            is_item, what = ready.get()
            if is_item:
                yield what  # pyright: ignore[reportReturnType]
            elif isinstance(what, BaseException):
                raise what
            else:
                return
    finally:
        stop.set()
        thread.join()
