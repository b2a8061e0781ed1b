"""A network namespace with an eth0 like a container's, connected by a veth pair to a router.

Both are named namespaces, created with ip(8) of iproute2, which needs root, and deleted at the end.
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_interface
from pathlib import Path

from attrs import frozen

from vmnet import process

_CLONE_NEWNET = 0x40000000
_SELF = Path("/proc/thread-self/ns/net")
_IPV6 = Path("/proc/sys/net/ipv6/conf/default")
_LINK_SECONDS = 60.0


@frozen
class Container:
    """A network namespace that stands in for a container.

    :param name: its name for ``ip netns``
    """

    name: str

    def run(self, *argv: str) -> str:
        """Run a program in the namespace and return its standard output.

        :raises RuntimeError: the program fails
        """
        return _ip("netns", "exec", self.name, *argv)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Move this thread into the namespace, so that it creates its sockets there."""
        before = os.open(_SELF, os.O_RDONLY | os.O_CLOEXEC)
        try:
            _enter(Path("/run/netns", self.name))
            yield
        finally:
            _setns(before)
            os.close(before)

    def state(self) -> str:
        """Return the links, addresses, routes, rules and qdiscs as text, for a comparison."""
        commands = (
            ("ip", "-details", "link"),
            ("ip", "address"),
            ("ip", "-4", "route", "show", "table", "all"),
            ("ip", "-6", "route", "show", "table", "all"),
            ("ip", "rule"),
            ("tc", "qdisc"),
        )
        return "\n".join(self.run(*command) for command in commands)


@contextmanager
def container(
    *addresses: str, gateway: str = "", mac: str = "", mtu: int = 1500
) -> Iterator[Container]:
    """Create a namespace whose eth0 is up, with these addresses and a default route.

    :param addresses: with prefix lengths; 10.77.0.2/24 by default
    :param gateway: the address of the router; by default the first of the first address's subnet
    """
    parsed = [ip_interface(address) for address in addresses or ("10.77.0.2/24",)]
    via = gateway or str(parsed[0].network[1])
    name = f"vmnet-test-{os.getpid()}-{os.urandom(3).hex()}"
    router = f"{name}-router"
    with ExitStack() as undo:
        for namespace in (name, router):
            _ip("netns", "add", namespace)
            undo.callback(_ip, "netns", "delete", namespace)
            _ip("-n", namespace, "link", "set", "lo", "up")
        with Container(name).entered():
            if has_ipv6 := _has_ipv6():
                (_IPV6 / "accept_dad").write_text("0")
        peer = ("peer", "name", "eth0", "netns", router)
        link = ("eth0", "mtu", str(mtu), *(("address", mac) if mac else ()))
        _ip("-n", name, "link", "add", *link, "type", "veth", *peer)
        _ip("-n", router, "link", "set", "eth0", "mtu", str(mtu))
        _ip("-n", router, "address", "add", f"{via}/{parsed[0].network.prefixlen}", "dev", "eth0")
        for address in parsed:
            detection = ("nodad",) if address.version == 6 else ()
            _ip("-n", name, "address", "add", str(address), "dev", "eth0", *detection)
        for namespace in (router, name):
            _ip("-n", namespace, "link", "set", "eth0", "up")
        _ip("-n", name, "route", "add", "default", "via", via, "dev", "eth0")
        if has_ipv6:
            _await_link_local(name)
        yield Container(name)


def _has_ipv6() -> bool:
    """Return whether the kernel has IPv6, and enables it on new interfaces of this namespace."""
    setting = _IPV6 / "disable_ipv6"
    return setting.exists() and setting.read_text().strip() == "0"


def _await_link_local(name: str) -> None:
    """Wait for eth0's own address, so that the kernel then changes nothing by itself.

    The address is tentative at first, also without duplicate address detection.
    """
    end = time.monotonic() + _LINK_SECONDS
    shown = ("-6", "address", "show", "dev", "eth0", "scope", "link")
    while not (found := _ip("-n", name, *shown)) or "tentative" in found:
        if time.monotonic() >= end:
            raise RuntimeError(f"eth0 has no link-local address after {_LINK_SECONDS:g} s")
        time.sleep(0.01)


def _ip(*arguments: str) -> str:
    program = process.find("ip")
    if program is None:
        raise RuntimeError("ip is not installed; install the package iproute2")
    done = process.ask((str(program), *arguments))
    if done.status != 0:
        output = (done.stdout + done.stderr).strip() or f"status {done.status}"
        raise RuntimeError(f"ip {' '.join(arguments)}: {output}")
    return done.stdout.strip()


def _enter(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _setns(fd)
    finally:
        os.close(fd)


def _setns(fd: int) -> None:
    """Call setns(2), which the os module has only since Python 3.12."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, _CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
