"""A host with the bridge docker0 and one container on it, made of network namespaces."""

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
_MAC = "02:42:ac:1f:00:02"  # Docker makes it of the address
# ip-netns(8): programs in a namespace see the files of this folder in /etc.
_ETC = Path("/etc/netns")
_END_SECONDS = 5.0


@frozen
class Namespace:
    """A network namespace by name, known to ip-netns(8)."""

    name: str

    def command(self, *argv: str) -> tuple[str, ...]:
        """The command that runs another one in here."""
        return ("ip", "netns", "exec", self.name, *argv)

    def ip(self, *arguments: str) -> None:
        """:raises vmnet.demo.errors.DemoError: ip(8) refused"""
        tools.run("ip", "-n", self.name, *arguments)

    def show(self, *arguments: str) -> Any:
        """What ``ip -j`` answers."""
        return tools.run_json("ip", "-n", self.name, "-j", *arguments)

    def link(self, name: str) -> Any:
        """A link with its addresses; empty where there is none of that name."""
        return next((one for one in self.show("address", "show") if one["ifname"] == name), {})


@frozen
class Network:
    host: Namespace
    container: Namespace


@contextmanager
def network() -> Iterator[Network]:
    """Make both namespaces, and take them away in the end with all that still runs in them.

    :raises DemoError: this machine does not allow it
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
    made = Namespace(name)
    try:
        tools.run("ip", "netns", "add", name)
        made.ip("link", "set", "lo", "up")
        yield made
    finally:
        if Path("/run/netns", name).exists():
            _end_all(name)
            tools.run("ip", "netns", "delete", name)


def _end_all(name: str) -> None:
    """Kill what runs in a namespace; it is ours, so there is nobody else's process in it."""

    def nobody_left() -> bool:
        pids = [int(word) for word in tools.run("ip", "netns", "pids", name).split()]
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not pids

    if not until(nobody_left, _END_SECONDS):
        raise DemoError(f"processes in the namespace {name} can't be ended")
