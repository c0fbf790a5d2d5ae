"""One driver at a time on a store that has no locks: leases of real processes, and faults of the store."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from mmcsal.contracts.errors import InputError
from mmcsal.storage.lease import Lease, LeaseLostError
from mmcsal.storage.rundir import RunDir
from mmcsal.storage.uri import StorageSpec
from tests.helpers import TIME_LIMIT_S

LEASE_S = 4.0

# Holds the lease until it is told to end on stdin; prints what it sees.
HOLDER = """
import sys, time
from mmcsal.storage.rundir import RunDir
from mmcsal.storage.uri import StorageSpec
run_dir = RunDir({uri!r}, StorageSpec.model_validate_json({storage!r}))
try:
    with run_dir.locked() as check:
        print("held", flush=True)
        {body}
        check()
        print("released", flush=True)
except Exception as error:
    print(type(error).__name__, error, flush=True)
"""


@pytest.fixture
def run_dir(proxy, bucket) -> RunDir:
    spec = StorageSpec(endpoint_url=proxy.url, lease_s=LEASE_S, max_attempts=2, request_timeout_s=3)
    return RunDir(f"s3://{bucket}/run", spec)


def start(run_dir: RunDir, body: str = "sys.stdin.readline()", before: str = "") -> subprocess.Popen:
    program = before + HOLDER.format(uri=run_dir.uri, storage=run_dir.storage.model_dump_json(), body=body)
    return subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def line(process: subprocess.Popen) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def end(*processes: subprocess.Popen) -> None:
    for process in processes:
        process.kill()
        process.wait()


def test_a_second_driver_is_refused_by_the_name_of_the_first_within_the_lease(run_dir):
    holder = start(run_dir)
    assert line(holder) == "held"
    begun_s = time.monotonic()
    with pytest.raises(InputError, match=rf"in use by process {holder.pid} on "), run_dir.locked():
        pass
    assert time.monotonic() - begun_s < LEASE_S + TIME_LIMIT_S
    assert run_dir.is_held()
    holder.communicate("\n", timeout=TIME_LIMIT_S)
    assert not run_dir.is_held()
    with run_dir.locked():
        pass


def test_a_holder_of_this_machine_that_was_killed_is_followed_at_once(run_dir):
    patient = RunDir(run_dir.uri, run_dir.storage.model_copy(update={"lease_s": 1000.0}))
    holder = start(patient)
    assert line(holder) == "held"
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    begun_s = time.monotonic()
    with patient.locked():
        assert time.monotonic() - begun_s < TIME_LIMIT_S


def test_a_holder_elsewhere_that_is_silent_is_followed_after_the_lease(run_dir):
    elsewhere = {"token": "x", "beat": 7, "host": "elsewhere", "boot": "other", "pid": 1, "started": "1"}
    run_dir.write_bytes(json.dumps(elsewhere).encode(), Lease.FILE)
    begun_s = time.monotonic()
    with run_dir.locked():
        assert LEASE_S <= time.monotonic() - begun_s < LEASE_S + TIME_LIMIT_S


def test_a_holder_elsewhere_that_beats_is_not_followed(run_dir):
    stop = threading.Event()

    def beat() -> None:
        for n in range(1000):
            content = {"token": "x", "beat": n, "host": "elsewhere", "boot": "other", "pid": 1, "started": "1"}
            run_dir.write_bytes(json.dumps(content).encode(), Lease.FILE)
            if stop.wait(LEASE_S / 4):
                return

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        time.sleep(0.5)
        with pytest.raises(InputError, match="process 1 on elsewhere"), run_dir.locked():
            pass
    finally:
        stop.set()
        thread.join()


def test_of_drivers_that_start_at_once_one_gets_it(run_dir):
    drivers = [start(run_dir) for _ in range(3)]
    told = [line(driver) for driver in drivers]
    end(*drivers)
    assert told.count("held") == 1
    assert sum(text.startswith("InputError") and "in use by" in text for text in told) == 2


@pytest.mark.parametrize("in_background", [False, True])
def test_a_driver_that_was_stopped_for_longer_than_the_lease_loses_it_and_is_interrupted(run_dir, in_background):
    """Blocked in a wait as on Ray; stopped as by a suspended machine, which is one of another host to its follower.

    `mmcsal run ... &` in a script ignores SIGINT: such a driver once went on beside the one that had taken over.
    """
    ignored = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)" if in_background else ""
    blocked = start(run_dir, "time.sleep(600)", before=ignored)
    assert line(blocked) == "held"
    blocked.send_signal(signal.SIGSTOP)
    with run_dir.locked() as check:
        blocked.send_signal(signal.SIGCONT)
        assert line(blocked).startswith(f"LeaseLostError run directory {run_dir.uri} was taken over by process")
        assert str(os.getpid()) in run_dir.read_bytes(Lease.FILE).decode()
        check()
    blocked.communicate(timeout=TIME_LIMIT_S)


def test_a_driver_that_the_store_cut_off_is_interrupted_once_it_sees_it_again(run_dir, proxy, s3):
    """The proxy is the network of the first driver alone."""
    other = RunDir(run_dir.uri, run_dir.storage.model_copy(update={"endpoint_url": s3.url}))
    followers = []

    def cut_off() -> None:
        with run_dir.locked():
            proxy.outage(600)
            followers.append(start(other))
            assert line(followers[0]) == "held"
            proxy.outage(0)
            time.sleep(TIME_LIMIT_S)

    try:
        with pytest.raises(LeaseLostError) as caught:
            cut_off()
        assert f"taken over by process {followers[0].pid} on" in str(caught.value)
        assert followers[0].communicate("\n", timeout=TIME_LIMIT_S)[0].strip() == "released"
    finally:
        end(*followers)


def test_a_short_outage_costs_no_lease(run_dir, proxy):
    with run_dir.locked() as check:
        proxy.outage(LEASE_S / 2)
        time.sleep(LEASE_S * 1.5)
        check()
        assert run_dir.is_held()
