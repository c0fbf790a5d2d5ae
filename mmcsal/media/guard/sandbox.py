"""What a decoder child may do, which is little: read files and compute, within limits; nothing of it needs root.

Three layers, each where the platform has it, so most on Linux. Landlock: no file is made, written or removed, and
nothing of other processes is seen. seccomp: no socket, no program, no process. Limits: of memory, descriptors, time.
They are for a decoder that a file has taken over; what they do not hold back is in SECURITY.md.
"""

import ctypes
import errno
import os
import platform
import resource
import stat
import struct
import sys
from contextlib import suppress

NUM_DESCRIPTORS = 256

_PR_SET_NO_NEW_PRIVS = 38
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
# Rights of the file system that a version of Landlock knows: 13, with REFER 14, TRUNCATE 15, IOCTL_DEV 16.
_NUM_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
# The environment of the worker is in /proc too.
_PROC = ("/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/sys/vm")
_TCP_RIGHTS, _SCOPES = 0b11, 0b11  # bind and connect; abstract sockets and signals

_SECCOMP_SET_MODE_FILTER, _SECCOMP_TSYNC = 1, 1
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000
_CLONE_THREAD = 0x00010000
_LOAD, _JUMP_EQUAL, _JUMP_ABOVE, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
# Machine: its name for audits, the number of seccomp, of clone and clone3, and of what is refused: sockets and
# connections, programs, processes, tracing, other namespaces and mounts, keys, BPF, io_uring, modules of the kernel.
_MACHINES = {
    "x86_64": (
        0xC000003E, 317, 56, 435,
        (41, 42, 43, 49, 50, 288, 59, 322, 57, 58, 101, 310, 311, 272, 308, 165, 166, 155, 161, 248, 249, 250, 321,
         425, 426, 427, 438, 304, 298, 175, 313, 246, 323),
    ),
    "aarch64": (
        0xC00000B7, 277, 220, 435,
        (198, 203, 202, 200, 201, 242, 221, 281, 117, 270, 271, 97, 268, 40, 39, 41, 51, 217, 218, 219, 280,
         425, 426, 427, 438, 265, 241, 105, 273, 104, 282),
    ),
}  # fmt: skip


def confine() -> list[str]:
    """Gives up for good what decoding does not need; call before other threads are there.

    Returns:
        the layers that this machine has: "landlock", "seccomp"; the others are left out without an error.
    """
    if sys.platform != "linux":
        return []
    if ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return []
    layers = {"landlock": _restrict_files, "seccomp": _refuse_calls}
    return [name for name, add in layers.items() if add()]


def limit_resources(memory_bytes: int, cpu_s: float) -> None:
    """Limits what this process may take from now on: `memory_bytes` beside what it has, `cpu_s` seconds in all."""
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: NUM_DESCRIPTORS,
        resource.RLIMIT_CPU: round(cpu_s) + 1,
        resource.RLIMIT_AS: _address_space_bytes() + memory_bytes,
    }
    for kind, most in limits.items():
        _, hard = resource.getrlimit(kind)
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with suppress(ValueError, OSError):  # a platform that has no such limit
            resource.setrlimit(kind, (least, least))


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an error says, anywhere in its chain, that there was no memory left within the limit."""
    while error is not None:
        if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
            return True
        if any(said in str(error) for said in ("bad_alloc", "Cannot allocate memory", "Unable to allocate")):
            return True
        error = error.__cause__ or error.__context__
    return False


def _address_space_bytes() -> int:
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return 0


def _restrict_files() -> bool:
    """Landlock: files may be read, but those of `/proc` that tell of other processes; nothing else may be done."""
    version = _call(_LANDLOCK_CREATE, None, 0, 1)
    if version < 1:
        return False
    file_rights = (1 << _NUM_FILE_RIGHTS.get(version, 16)) - 1
    handled = struct.pack("=QQQ", file_rights, _TCP_RIGHTS if version >= 4 else 0, _SCOPES if version >= 6 else 0)
    handled = handled[: 8 if version < 4 else 16 if version < 6 else 24]
    ruleset = _call(_LANDLOCK_CREATE, handled, len(handled), 0)
    try:
        for path in (*(f"/{name}" for name in os.listdir("/") if name != "proc"), *_PROC):
            with suppress(OSError):  # what may not be opened needs no rule
                _allow_reading(ruleset, path)
        return _call(_LANDLOCK_RESTRICT, ruleset, 0) == 0
    finally:
        os.close(ruleset)


def _allow_reading(ruleset: int, path: str) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    rights = _READ_FILE | (_READ_DIR if stat.S_ISDIR(os.fstat(descriptor).st_mode) else 0)
    _call(_LANDLOCK_ADD, ruleset, 1, struct.pack("=Qi", rights, descriptor), 0)
    os.close(descriptor)


def _refuse_calls() -> bool:
    """seccomp: the calls of `_MACHINES` fail as if the user had no right to them; threads may still be made."""
    if platform.machine() not in _MACHINES or sys.maxsize < 2**32:
        return False
    audit_arch, seccomp, clone, clone3, refused = _MACHINES[platform.machine()]
    no_right, no_call = _REFUSE | errno.EPERM, _REFUSE | errno.ENOSYS
    program = [
        _step(_LOAD, 4),  # the machine
        _step(_JUMP_EQUAL, audit_arch, 1, 0),
        _step(_RETURN, no_right),
        _step(_LOAD, 0),  # the number of the call
        _step(_JUMP_ABOVE, 0x40000000, 0, 1),  # of another convention of this machine
        _step(_RETURN, no_right),
        _step(_JUMP_EQUAL, clone3, 0, 1),  # its flags cannot be seen; C libraries then take clone
        _step(_RETURN, no_call),
        _step(_JUMP_EQUAL, clone, 0, 3),
        _step(_LOAD, 16),  # its flags
        _step(_JUMP_ANY_BIT, _CLONE_THREAD, 1 + 2 * len(refused), 0),
        _step(_RETURN, no_right),
    ]
    for number in refused:
        program += [_step(_JUMP_EQUAL, number, 0, 1), _step(_RETURN, no_right)]
    program.append(_step(_RETURN, _ALLOW))
    text = ctypes.create_string_buffer(b"".join(program), 8 * len(program))
    filters = struct.pack("@HP", len(program), ctypes.addressof(text))
    return _call(seccomp, _SECCOMP_SET_MODE_FILTER, _SECCOMP_TSYNC, filters) == 0


def _call(number: int, *arguments: int | bytes | None) -> int:
    """A system call that the C library has no name for; -1 where the kernel refuses it."""
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    call = ctypes.CDLL(None).syscall
    call.restype = ctypes.c_long
    return call(ctypes.c_long(number), *words)


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
