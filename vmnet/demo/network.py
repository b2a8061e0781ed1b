"""A host with the bridge docker0 and a container on it, made of network namespaces."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any

from attrs import frozen

from vmnet.demo import tools
from vmnet.demo.errors import DemoError
from vmnet.demo.wait import until

HOSTNAME = "demo"
NAMESERVER = "172.31.0.53"
_GATEWAY = IPv4Interface("172.31.0.1/16")
_ADDRESS = IPv4Interface("172.31.0.2/16")
_MAC = "02:42:ac:1f:00:02"  # Docker derives it from the address
# ip-netns(8): programs in a namespace see this folder's files in /etc.
_ETC = Path("/etc/netns")
_END_SECONDS = 30.0


@frozen
class Namespace:
    """A network namespace by name, known to ip-netns(8)."""

    name: str

    def command(self, *argv: str) -> tuple[str, ...]:
        """Return the command that runs ``argv`` in the namespace."""
        return ("ip", "netns", "exec", self.name, *argv)

    def ip(self, *arguments: str) -> None:
        """Run ip(8) for the namespace.

        :raises vmnet.demo.errors.DemoError: ip(8) failed
        """
        tools.run("ip", "-n", self.name, *arguments)

    def show(self, *arguments: str) -> Any:
        """Return the answer of ``ip -j``."""
        return tools.run_json("ip", "-n", self.name, "-j", *arguments)

    def link(self, name: str) -> Any:
        """Return a link with its addresses; empty if there is no such link."""
        links = self.show("address", "show")
        return next((link for link in links if link["ifname"] == name), {})


@frozen
class Network:
    host: Namespace
    container: Namespace


@contextmanager
def network() -> Iterator[Network]:
    """Create both namespaces; at the end, kill their processes and delete them.

    :raises DemoError: this machine does not allow network namespaces
    """
    name = f"vmnet-demo-{os.getpid()}"
    with ExitStack() as stack:
        host = stack.enter_context(_namespace(f"{name}-host"))
        container = stack.enter_context(_namespace(name))
        host.ip("link", "add", "docker0", "type", "bridge")
        host.ip("address", "add", str(_GATEWAY), "dev", "docker0")
        host.ip("link", "set", "docker0", "up")
        peer = ("peer", "name", "eth0", "address", _MAC, "netns", container.name)
        host.ip("link", "add", "veth0", "type", "veth", *peer)
        host.ip("link", "set", "veth0", "master", "docker0", "up")
        container.ip("address", "add", str(_ADDRESS), "broadcast", "+", "dev", "eth0")
        container.ip("link", "set", "eth0", "up")
        container.ip("route", "add", "default", "via", str(_GATEWAY.ip))
        etc = _ETC / container.name
        stack.callback(shutil.rmtree, etc, ignore_errors=True)
        etc.mkdir(parents=True)
        (etc / "resolv.conf").write_text(f"nameserver {NAMESERVER}\n")
        (etc / "hosts").write_text(f"127.0.0.1\tlocalhost\n{_ADDRESS.ip}\t{HOSTNAME}\n")
        yield Network(host, container)


@contextmanager
def _namespace(name: str) -> Iterator[Namespace]:
    namespace = Namespace(name)
    try:
        tools.run("ip", "netns", "add", name)
        namespace.ip("link", "set", "lo", "up")
        yield namespace
    finally:
        if Path("/run/netns", name).exists():
            _kill_all(name)
            tools.run("ip", "netns", "delete", name)


def _kill_all(name: str) -> None:
    """Kill every process in a namespace, which contains only the demonstration's processes."""

    def is_empty() -> bool:
        pids = [int(word) for word in tools.run("ip", "netns", "pids", name).split()]
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not pids

    if not until(is_empty, _END_SECONDS):
        raise DemoError(f"can't kill the processes in the namespace {name}")
