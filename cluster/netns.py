"""One network namespace for each node of a local cluster: own addresses, and links that can be cut.

A hub namespace holds a bridge; every node's namespace has one link to it, and so has this machine, which reaches the
nodes by it and forwards nothing. All of it is named after the process and removed with `close`.
"""

import ipaddress
import os
import random
import shutil
import subprocess

# Subnets are taken from here where this machine has no route into them.
RANGE = ipaddress.IPv4Network("10.231.0.0/16")


class NamespacesUnavailableError(RuntimeError):
    """This machine does not let us make network namespaces; the message says why."""


class Network:
    """A bridge and the namespaces that hang on it."""

    def __init__(self) -> None:
        if shutil.which("ip") is None:
            raise NamespacesUnavailableError("network namespaces need the command `ip` (package iproute2)")
        # Names of links may have 15 characters.
        self._id = f"mm{os.getpid() % 2**20:05x}{random.randrange(16**3):03x}"
        self._hub = f"{self._id}-hub"
        self._namespaces: list[str] = []
        self.subnet = _free_subnet()
        try:
            self._add_namespace(self._hub)
            _ip("-n", self._hub, "link", "add", "bridge", "type", "bridge")
            _ip("-n", self._hub, "link", "set", "bridge", "up")
            self._add_link(self._id, namespace=None, port="host", address=self.address(254))
        except NamespacesUnavailableError:
            self.close()
            raise

    def address(self, number: int) -> str:
        return str(self.subnet[number])

    def name(self, number: int) -> str:
        return f"{self._id}-{number}"

    def add(self, number: int) -> None:
        """Makes the namespace of a node, 1 to 253, with that address."""
        name = self.name(number)
        self._add_namespace(name)
        self._add_link("eth0", namespace=name, port=f"node{number}", address=self.address(number))

    def cut(self, number: int) -> None:
        """Packets from and to a node are dropped from now on; neither side is told."""
        _ip("-n", self._hub, "link", "set", f"node{number}", "nomaster")

    def restore(self, number: int) -> None:
        _ip("-n", self._hub, "link", "set", f"node{number}", "master", "bridge")

    def close(self) -> None:
        """Removes the namespaces, and with them all links."""
        while self._namespaces:
            subprocess.run(["ip", "netns", "del", self._namespaces.pop()], capture_output=True, check=False)
        subprocess.run(["ip", "link", "del", self._id], capture_output=True, check=False)

    def _add_namespace(self, name: str) -> None:
        _ip("netns", "add", name)
        self._namespaces.append(name)
        _ip("-n", name, "link", "set", "lo", "up")

    def _add_link(self, name: str, *, namespace: str | None, port: str, address: str) -> None:
        """A link from the bridge's `port` to `name` in a namespace, or in that of this machine."""
        inside = ["-n", namespace] if namespace else []
        peer = ["netns", namespace] if namespace else ["netns", str(os.getpid())]
        _ip("-n", self._hub, "link", "add", port, "type", "veth", "peer", "name", name, *peer)
        _ip("-n", self._hub, "link", "set", port, "master", "bridge")
        _ip("-n", self._hub, "link", "set", port, "up")
        _ip(*inside, "addr", "add", f"{address}/{self.subnet.prefixlen}", "dev", name)
        _ip(*inside, "link", "set", name, "up")


def _free_subnet() -> ipaddress.IPv4Network:
    """A subnet of 254 addresses that no route of this machine leads into."""
    routes = _ip("-4", "route", "show", "table", "all").split()
    taken = [ipaddress.ip_network(word) for word in routes if word[0].isdigit() and "/" in word]
    # At random, so that processes that look at the same time rarely take the same one.
    subnets = random.sample(list(RANGE.subnets(new_prefix=24)), 256)
    for subnet in subnets:
        if not any(subnet.overlaps(other) for other in taken):
            return subnet
    raise NamespacesUnavailableError(f"no free subnet in {RANGE}")


def _ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NamespacesUnavailableError(f"`ip {' '.join(arguments)}`: {done.stderr.strip()}; it needs root on Linux")
    return done.stdout
