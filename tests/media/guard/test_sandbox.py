"""What a confined process may no longer do, by doing it; and that all of it works where nothing is confined."""

import json
import os
import platform
import socket
import subprocess
import sys
import threading

import pytest

from mmcsal.media.guard.sandbox import NUM_DESCRIPTORS, confine, is_out_of_memory

ON_LINUX = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"), reason="the layers are Linux's"
)
# Each name is a thing that a decoder has no need of; `folder` holds a file "old" and a listening socket "door".
ATTEMPTS = """
import ctypes, json, os, socket, subprocess, sys
from mmcsal.media.guard.sandbox import confine, limit_resources
folder, secret_pid, is_confined = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "True"
layers = confine() if is_confined else []
inside = lambda name: os.path.join(folder, name)
def fork():
    pid = os.fork()
    if pid == 0: os._exit(0)
    os.waitpid(pid, 0)
def ptrace():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(0, 0, 0, 0) != 0: raise OSError(ctypes.get_errno(), "ptrace")
def connect():
    with socket.socket(socket.AF_UNIX) as end: end.connect(inside("door"))
attempts = {
    "make a file": lambda: open(inside("new"), "w"),
    "append to a file": lambda: open(inside("old"), "a"),
    "shorten a file": lambda: os.truncate(inside("old"), 0),
    "rename a file": lambda: os.rename(inside("old"), inside("older")),
    "make a folder": lambda: os.mkdir(inside("folder")),
    "make a link": lambda: os.symlink("/", inside("link")),
    "make a pipe": lambda: os.mkfifo(inside("pipe")),
    "internet": lambda: socket.socket(socket.AF_INET).close(),
    "datagrams": lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).close(),
    "connect to a local socket": connect,
    "run a program": lambda: subprocess.run(["/bin/true"], check=True),
    "make a process": fork,
    "be traced": ptrace,
    "see the environment of another": lambda: open(f"/proc/{secret_pid}/environ").read(),
    "see the descriptors of another": lambda: os.readlink(f"/proc/{secret_pid}/fd/0"),
    "signal another": lambda: os.kill(secret_pid, 0),
}
allowed = {
    "read a file": lambda: open(inside("readable")).read(),
    "list a folder": lambda: os.listdir(folder),
    "a thread": lambda: __import__("threading").Thread(target=int).start(),
}
def outcome(attempt):
    try: attempt()
    except OSError as error: return error.strerror or "refused"
    return "done"
if len(sys.argv) > 4:
    limit_resources(int(sys.argv[4]), 60)
    def allocate():
        try: bytearray(2 * int(sys.argv[4]))
        except MemoryError: raise OSError(12, "no memory")
    allowed["little memory"] = lambda: bytearray(int(sys.argv[4]) // 4)
    attempts = {"much memory": allocate, "many files": lambda: [open("/dev/null") for _ in range(300)],
                "a big file": lambda: open(inside("big"), "wb", buffering=0).write(b"x")}
print(json.dumps({"layers": layers} | {n: outcome(a) for n, a in (allowed | attempts).items()}))
"""
ALLOWED = {"read a file", "list a folder", "a thread", "little memory"}


@pytest.fixture
def outcomes(tmp_path):
    """Of the attempts, in a process that is confined or not, with or without limits."""

    def attempt(is_confined: bool, *limits: int) -> dict[str, str]:
        for name in ("old", "readable"):
            (tmp_path / name).write_text(name)
        with socket.socket(socket.AF_UNIX) as door, subprocess.Popen(["sleep", "60"]) as other:
            door.bind(str(tmp_path / "door"))
            door.listen()
            arguments = [str(tmp_path), str(other.pid), str(is_confined), *map(str, limits)]
            done = subprocess.run([sys.executable, "-c", ATTEMPTS, *arguments], capture_output=True, text=True)
            other.kill()
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return attempt


def test_unconfined_all_of_it_can_be_done(outcomes):
    found = outcomes(False)
    assert {name for name, said in found.items() if said == "done"} == found.keys() - {"layers"}


@ON_LINUX
def test_confined_a_process_can_read_and_compute_and_nothing_else(outcomes):
    found = outcomes(True)
    if found.pop("layers") != ["landlock", "seccomp"]:
        pytest.skip("this kernel does not have both layers")
    assert {name for name, said in found.items() if said == "done"} == ALLOWED - {"little memory"}


def test_limits_hold_memory_files_and_descriptors(outcomes):
    found = outcomes(False, 2**28)
    assert {name for name, said in found.items() if said == "done"} == ALLOWED
    assert NUM_DESCRIPTORS < 300
    assert found["much memory"] == "no memory"


@ON_LINUX
def test_confinement_is_of_threads_that_come_later_too():
    """Of this process it must not be: it is asked for in a child."""
    pid = os.fork()
    if pid == 0:
        confine()
        said: list[object] = []

        def look() -> None:
            try:
                os.mkdir("/tmp/never-made")
            except OSError:
                said.append("refused")

        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        os._exit(0 if said == ["refused"] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (MemoryError(), True),
        (OSError(12, "Cannot allocate memory"), True),
        (RuntimeError("std::bad_alloc"), True),
        (ValueError("no such codec"), False),
        (OSError(28, "No space left on device"), False),
    ],
)
def test_an_error_for_want_of_memory_is_told_from_others_however_it_is_wrapped(error, is_memory):
    wrapped = RuntimeError("video: it failed")
    wrapped.__cause__ = error
    assert is_out_of_memory(error) is is_memory
    assert is_out_of_memory(wrapped) is is_memory
