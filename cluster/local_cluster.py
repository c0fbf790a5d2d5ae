"""A real Ray cluster of several nodes on one machine.

    python cluster/local_cluster.py --nodes 3 --cpus 1

starts a head and three nodes, each `ray start` with processes, ports and folder of its own, prints how to submit a
job, and ends all of them (and nothing else of this machine) on Ctrl-C or SIGTERM. Tests and `benchmarks/faults.py` use
the class, and kill, pause and cut off its nodes.
"""

import argparse
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Self

REPO = Path(__file__).resolve().parents[1]
if __package__ in (None, ""):  # run as a script
    sys.path.insert(0, str(REPO))

from cluster.autoscaling import HEAD_ENVIRONMENT, autoscaling_config  # noqa: E402
from cluster.netns import Network  # noqa: E402
from cluster.processes import environments, kill_all, marked_pids, ports_in_use, signal_all, wait_until  # noqa: E402

START_LIMIT_S = 300  # on a busy machine too
# How soon a loss is noticed. A node that died: 2 s; one that hangs or is cut off: 10 s (Ray's own: 15 and 65 s).
# Without the keepalive a driver waits for minutes for an answer from a node that was cut off, though its loss is known.
LOSS_SETTINGS = {
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 2000,
    "health_check_failure_threshold": 4,
    "grpc_client_keepalive_time_ms": 10000,
    "grpc_client_keepalive_timeout_ms": 5000,
}
OBJECT_STORE_BYTES = 200_000_000
# Below the ports that Linux hands out by itself, so that nothing takes one between our look and Ray's use of it.
PORT_BLOCKS = range(12000, 32000, 100)
PORT_LOCKS = Path(tempfile.gettempdir()) / "mmcsal-ports"
# In the environment of every process of a node, whoever started it: that is how they are found again.
CLUSTER_MARK, NODE_MARK = "MMCSAL_LOCAL_CLUSTER", "MMCSAL_LOCAL_NODE"


class Node:
    """One node: `ray start` and all that came of it."""

    def __init__(self, cluster: "LocalCluster", number: int, arguments: Sequence[str]) -> None:
        self.name = f"{cluster.id}-{number}"
        self.number = number
        self._cluster = cluster
        self._mark = f"{NODE_MARK}={self.name}"
        self._output = cluster.folder / f"{number}.txt"
        command = ["ray", "start", "--block", "--disable-usage-stats", f"--node-name={self.name}", *arguments]
        environment = {**cluster.environment, NODE_MARK: self.name}
        with self._output.open("w") as output:
            self._process = subprocess.Popen(
                [*cluster.prefix_of(number), *command],
                env=environment,
                cwd=cluster.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def alive(self) -> bool:
        """Whether the cluster's control store takes this node for alive."""
        return self.name in self._cluster.alive_names()

    def pids(self) -> list[int]:
        """Its processes: raylet, agents, workers; of the head also the control store and the drivers of jobs."""
        return marked_pids(self._mark)

    def kill(self) -> None:
        """SIGKILL of all its processes, as when the machine loses power."""
        kill_all(self._mark)
        self._process.wait()

    def pause(self) -> None:
        """Stops all its processes: a node that hangs."""
        signal_all(self.pids(), signal.SIGSTOP)

    def resume(self) -> None:
        signal_all(self.pids(), signal.SIGCONT)

    def cut(self) -> None:
        """Cuts the node's network link; needs `namespaces=True`."""
        self._cluster.network.cut(self.number + 1)

    def restore(self) -> None:
        self._cluster.network.restore(self.number + 1)

    def ended(self) -> bool:
        return self._process.poll() is not None

    def output(self) -> str:
        """What `ray start` printed."""
        return self._output.read_text(errors="replace")


class Job:
    """A job that was submitted; its figures come from the head's REST interface."""

    def __init__(self, cluster: "LocalCluster", submission_id: str) -> None:
        self.submission_id = submission_id
        self._cluster = cluster

    def status(self) -> str:
        """PENDING, RUNNING, STOPPED, SUCCEEDED or FAILED."""
        return self._info()["status"]

    def exit_code(self) -> int | None:
        """The exit code of the driver; None while it runs, or where its node was lost."""
        return self._info()["driver_exit_code"]

    def message(self) -> str:
        return self._info()["message"] or ""

    def logs(self) -> str:
        return self._cluster.get(f"/api/jobs/{self.submission_id}/logs")["logs"]

    def wait(self, timeout_s: float) -> int | None:
        """Waits until the job has ended; returns the exit code of its driver.

        Raises: TimeoutError: with the end of the job's log.
        """
        try:
            wait_until(lambda: self.status() in ("STOPPED", "SUCCEEDED", "FAILED"), timeout_s, "the job has ended")
        except TimeoutError as error:
            raise TimeoutError(f"{error}; its log ends with\n{self.logs()[-3000:]}") from None
        return self.exit_code()

    def kill_driver(self) -> None:
        """SIGKILL of the driver and its children; nodes and workers go on."""
        pids = [
            pid
            for pid, environment in environments()
            if any(v.startswith("RAY_JOB_CONFIG_JSON_ENV_VAR=") and self.submission_id in v for v in environment)
        ]
        signal_all(pids, signal.SIGKILL)

    def _info(self) -> dict[str, Any]:
        return self._cluster.get(f"/api/jobs/{self.submission_id}")


class LocalCluster:
    """A head, and the nodes that are added to it. Ends all its processes and removes its files when the block ends."""

    def __init__(
        self,
        head_cpus: int = 0,
        *,
        temp_root: Path | str | None = None,
        namespaces: bool = False,
        token: str | None = None,
        env: dict[str, str] | None = None,
        groups: dict[str, dict[str, Any]] | None = None,
        idle_timeout_s: float = 6.0,
    ) -> None:
        """
        Args:
            temp_root: where the nodes' folders are made; short, since the paths of sockets must stay below 107 bytes.
            namespaces: each node in a network namespace of its own; needs Linux and root.
            token: what clients and nodes must know to be let in; None = no authentication.
            env: variables of all nodes.
            groups: nodes that an autoscaler starts as work comes and ends after `idle_timeout_s`; see
                `autoscaling_config`. They share the head's folder: give their jobs no working dir.

        Raises: NamespacesUnavailableError: see `namespaces`.
        """
        self.id = uuid.uuid4().hex[:8]
        self.nodes: list[Node] = []
        self.folder = Path(temp_root or tempfile.gettempdir()) / f"mc-{self.id}"
        self._token = token
        self._locks: list[IO[str]] = []
        self._network = Network() if namespaces else None
        self._head_cpus, self._groups, self._idle_timeout_s = head_cpus, groups, idle_timeout_s
        self.environment = self._environment({**(HEAD_ENVIRONMENT if groups else {}), **(env or {})})
        self.gcs_address = self.dashboard_url = ""

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True)
        try:
            self._start_head()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def head(self) -> Node:
        return self.nodes[0]

    @property
    def network(self) -> Network:
        if self._network is None:
            raise ValueError("only a cluster with namespaces=True has links to cut")
        return self._network

    def add_node(self, num_cpus: int = 1, num_gpus: int = 0, resources: dict[str, float] | None = None) -> Node:
        """Starts a node and waits until the cluster has it.

        Raises: RuntimeError, TimeoutError: with what `ray start` printed.
        """
        arguments = [f"--address={self.gcs_address}", f"--num-cpus={num_cpus}", f"--num-gpus={num_gpus}"]
        return self._start_node([*arguments, f"--resources={json.dumps(resources or {})}"])

    def num_alive(self) -> int:
        """Nodes that the cluster's control store takes for alive, the head among them."""
        return sum(node["state"] == "ALIVE" for node in self.node_table())

    def alive_names(self) -> set[str]:
        return {node["node_name"] for node in self.node_table() if node["state"] == "ALIVE"}

    def node_table(self) -> list[dict[str, Any]]:
        """What the control store knows of every node, of lost ones too: node_name, state, resources_total, ..."""
        return self.get("/api/v0/nodes")["data"]["result"]["result"]

    def submit(
        self,
        entrypoint: Sequence[str],
        *,
        env_vars: dict[str, str] | None = None,
        working_dir: Path | str | None = REPO,
        submission_id: str | None = None,
    ) -> Job:
        """`ray job submit`, without waiting for the job.

        Raises: subprocess.CalledProcessError: with its output.
        """
        submission_id = submission_id or f"job-{uuid.uuid4().hex[:8]}"
        options = ["--no-wait", f"--submission-id={submission_id}"]
        if working_dir is not None:
            options.append(f"--working-dir={working_dir}")
        if env_vars:
            options.append(f"--runtime-env-json={json.dumps({'env_vars': env_vars})}")
        done = self.command(["ray", "job", "submit", *options, "--", *entrypoint])
        if done.returncode != 0:
            raise subprocess.CalledProcessError(done.returncode, done.args, done.stdout, done.stderr)
        return Job(self, submission_id)

    def command(
        self, command: Sequence[str], *, env: dict[str, str] | None = None, timeout_s: float = START_LIMIT_S
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command where the head runs, such as `ray status`; `env` comes on top of the cluster's own."""
        addresses = {"RAY_ADDRESS": self.dashboard_url if "job" in command[:2] else self.gcs_address}
        return subprocess.run(
            [*self.prefix_of(0), *command],
            env={**self.environment, **addresses, **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def get(self, path: str) -> Any:
        """The answer of the head's REST interface."""
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        request = urllib.request.Request(self.dashboard_url + path, headers=headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def prefix_of(self, number: int) -> list[str]:
        """What a command of a node begins with, so that it runs in the node's namespace."""
        return ["ip", "netns", "exec", self._network.name(number + 1)] if self._network else []

    def close(self) -> None:
        """Ends every process of the cluster and removes its namespaces, folder and locks."""
        kill_all(f"{CLUSTER_MARK}={self.id}")
        for node in self.nodes:
            node.kill()
        if self._network is not None:
            self._network.close()
        for lock in self._locks:
            lock.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _environment(self, given: dict[str, str]) -> dict[str, str]:
        """That of this process without its Ray settings: the cluster is the same from wherever it is started."""
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
        auth = {"RAY_AUTH_MODE": "disabled"}
        if self._token is not None:
            auth = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self._token}
        # Gloo would take the address of the host's name, which is not in the namespace.
        network = {"GLOO_SOCKET_IFNAME": "eth0"} if self._network else {}
        slow = {"RAY_raylet_start_wait_time_s": str(START_LIMIT_S)}
        paths = os.pathsep.join([str(Path(sys.executable).parent), inherited.get("PATH", os.defpath)])
        return inherited | {"PATH": paths, CLUSTER_MARK: self.id} | auth | network | slow | given

    def _start_head(self) -> None:
        ports = self._take_ports()
        address = self._address(0)
        gcs_port, dashboard_port, client_port = ports[:3]
        self.gcs_address = f"{address}:{gcs_port}"
        self.dashboard_url = f"http://{address}:{dashboard_port}"
        arguments = [
            "--head",
            f"--port={gcs_port}",
            f"--ray-client-server-port={client_port}",
            "--include-dashboard=true",
            f"--dashboard-host={address}",
            f"--dashboard-port={dashboard_port}",
            f"--num-cpus={self._head_cpus}",
            f"--system-config={json.dumps(LOSS_SETTINGS)}",
        ]
        if self._groups:
            config = self.folder / "autoscaling.yaml"  # JSON is YAML
            config.write_text(json.dumps(autoscaling_config(self.gcs_address, self._groups, self._idle_timeout_s)))
            arguments.append(f"--autoscaling-config={config}")
        self._start_node(arguments)

    def _start_node(self, arguments: Sequence[str]) -> Node:
        number = len(self.nodes)
        if self._network:
            self._network.add(number + 1)
        ports = self._take_ports()
        names = ["node-manager", "object-manager", "dashboard-agent-listen", "dashboard-agent-grpc"]
        names += ["runtime-env-agent", "metrics-export", "min-worker"]
        options = [f"--{name}-port={port}" for name, port in zip(names, ports, strict=False)]
        options += [f"--max-worker-port={ports[-1]}", f"--node-ip-address={self._address(number)}"]
        options += [f"--temp-dir={self.folder / str(number)}", f"--object-store-memory={OBJECT_STORE_BYTES}"]
        # What workers print stays in their own files: to send it to drivers costs a process of each node.
        options += ["--include-log-monitor=false"]
        node = Node(self, number, [*options, *arguments])
        self.nodes.append(node)
        try:
            wait_until(lambda: self._has_started(node), START_LIMIT_S, f"node {number} is alive")
        except (TimeoutError, RuntimeError) as error:
            node.kill()
            raise type(error)(f"{error}; `ray start` printed\n{node.output()[-3000:]}") from None
        return node

    def _has_started(self, node: Node) -> bool:
        if node.ended():
            raise RuntimeError(f"node {node.number} ended")
        try:
            return node.alive
        except OSError:  # the head's REST interface is not up yet
            return False

    def _address(self, number: int) -> str:
        """Each node has its own; 127.0.0.1 is left out, since Ray takes the machine's outer address in its place."""
        return self._network.address(number + 1) if self._network else f"127.0.0.{number + 2}"

    def _take_ports(self) -> range:
        """A block of ports for one node; held by a lock on a file, so that no other local cluster takes it too."""
        PORT_LOCKS.mkdir(exist_ok=True)
        for first in PORT_BLOCKS:
            lock = open(PORT_LOCKS / str(first), "w")  # noqa: SIM115
            ports = range(first, first + PORT_BLOCKS.step)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not ports_in_use().intersection(ports):
                    self._locks.append(lock)
                    return ports
            except BlockingIOError:
                pass
            lock.close()
        raise RuntimeError(
            f"no {PORT_BLOCKS.step} ports in a row are free from {PORT_BLOCKS.start} to {PORT_BLOCKS.stop}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="A Ray cluster of several nodes on this machine, until Ctrl-C.")
    parser.add_argument("--nodes", type=int, default=3, help="besides the head, which does no work")
    parser.add_argument("--cpus", type=int, default=1, help="of each node")
    parser.add_argument("--token", help="what clients must know (RAY_AUTH_TOKEN); default: no authentication")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with LocalCluster(token=options.token) as cluster:
            for _ in range(options.nodes):
                cluster.add_node(num_cpus=options.cpus)
            auth = "RAY_AUTH_MODE=token RAY_AUTH_TOKEN=..." if options.token else "RAY_AUTH_MODE=disabled"
            print(f"{cluster.num_alive()} nodes; Ray address {cluster.gcs_address}; dashboard {cluster.dashboard_url}")
            print("Submit from the repository, with absolute paths for corpus and run directory:")
            print(f"  {auth} ray job submit --address {cluster.dashboard_url} --working-dir . \\")
            print("    -- python jobs/run_all.py --corpus /path/to/videos --run-dir /path/to/run --budget 100")
            print("Ctrl-C ends the cluster.", flush=True)
            signal.pause()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
