"""A network namespace with an eth0 like a container's, and a router at the other end of its cable.

Two named namespaces, made by ip(8) of iproute2, which takes root. They go at the end, and what is
in them with them.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_interface
from pathlib import Path

from attrs import frozen

from vmnet import process

_CLONE_NEWNET = 0x40000000
_SELF = Path("/proc/thread-self/ns/net")


@frozen
class Container:
    """:param name: of the namespace, as ``ip netns`` knows it"""

    name: str

    def run(self, *argv: str) -> str:
        """Run a program in the namespace, and answer what it says.

        :raises RuntimeError: it fails
        """
        return _ip("netns", "exec", self.name, *argv)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """This thread is in the namespace: sockets that it makes are there."""
        before = os.open(_SELF, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(Path("/run/netns", self.name))
            yield
        finally:
            _setns(before)
            os.close(before)

    def state(self) -> str:
        """Links, addresses, routes, rules and filters, for a comparison."""
        looks = (
            ("ip", "-details", "link"),
            ("ip", "address"),
            ("ip", "-4", "route", "show", "table", "all"),
            ("ip", "-6", "route", "show", "table", "all"),
            ("ip", "rule"),
            ("tc", "qdisc"),
        )
        return "\n".join(self.run(*look) for look in looks)


@contextmanager
def container(
    *addresses: str, gateway: str = "", mac: str = "", mtu: int = 1500
) -> Iterator[Container]:
    """A namespace whose eth0 is up and has these addresses, and a default route.

    Unless addresses are given it is on 10.77.0.0/24: 10.77.0.2, with 10.77.0.1 as the router that
    answers there.

    :param gateway: an address of the router, which it then has; of the first address's subnet the
        first one, unless given
    """
    own = [ip_interface(one) for one in addresses or ("10.77.0.2/24",)]
    via = gateway or str(own[0].network[1])
    name = f"vmnet-test-{os.getpid()}-{os.urandom(3).hex()}"
    router = f"{name}-router"
    with ExitStack() as undo:
        for one in (name, router):
            _ip("netns", "add", one)
            undo.callback(_ip, "netns", "delete", one)
            _ip("-n", one, "link", "set", "lo", "up")
        peer = ("peer", "name", "eth0", "netns", router)
        link = ("eth0", "mtu", str(mtu), *(("address", mac) if mac else ()))
        _ip("-n", name, "link", "add", *link, "type", "veth", *peer)
        _ip("-n", router, "link", "set", "eth0", "mtu", str(mtu))
        _ip("-n", router, "address", "add", f"{via}/{own[0].network.prefixlen}", "dev", "eth0")
        for address in own:
            detection = ("nodad",) if address.version == 6 else ()
            _ip("-n", name, "address", "add", str(address), "dev", "eth0", *detection)
        for one in (router, name):
            _ip("-n", one, "link", "set", "eth0", "up")
        _ip("-n", name, "route", "add", "default", "via", via, "dev", "eth0")
        yield Container(name)


def _ip(*arguments: str) -> str:
    program = process.find("ip")
    if program is None:
        raise RuntimeError("ip is not installed; it is in the package iproute2")
    done = process.run((str(program), *arguments))
    if done.status != 0:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr or f'status {done.status}'}")
    return done.stderr


def _enter(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _setns(fd)
    finally:
        os.close(fd)


def _setns(fd: int) -> None:
    """setns(2), which Python has from 3.12 on."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, _CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
