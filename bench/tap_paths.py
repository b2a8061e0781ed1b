"""Paths from a tap to the network that are made by hand, to compare vmnet's with."""

from __future__ import annotations

import fcntl
import os
import stat
import struct
from collections.abc import Callable
from pathlib import Path

from tests.lab.net.namespace import Namespace

_TUNSETIFF = 0x400454CA
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x0002, 0x1000, 0x4000


def by_hand() -> dict[str, Callable[[Namespace], int]]:
    """Return each path's name, and a function that makes it and returns its tap's descriptor."""
    return {
        "bridge by hand": _bridge,
        "tc redirect by hand": _redirect,
        "macvtap by hand": _macvtap,
    }


def _bridge(container: Namespace) -> int:
    fd = _tap(container)
    container.ip(
        "link", "add", "br0", "type", "bridge", "forward_delay", "0", "mcast_snooping", "0"
    )
    container.ip("link", "set", "eth0", "down")
    container.ip("link", "set", "eth0", "address", "06:00:00:00:00:01", "master", "br0", "up")
    container.ip("link", "set", "tap0", "master", "br0", "up")
    container.ip("link", "set", "br0", "up")
    return fd


def _redirect(container: Namespace) -> int:
    fd = _tap(container)
    container.ip("link", "set", "tap0", "up")
    for source, target in (("eth0", "tap0"), ("tap0", "eth0")):
        container.run("tc", "qdisc", "add", "dev", source, "clsact")
        match = ("protocol", "all", "u32", "match", "u32", "0", "0")
        action = ("action", "mirred", "egress", "redirect", "dev", target)
        container.run("tc", "filter", "add", "dev", source, "ingress", *match, *action)
    return fd


def _macvtap(container: Namespace) -> int:
    mac = container.mac
    mode = ("type", "macvtap", "mode", "passthru")
    container.ip("address", "flush", "dev", "eth0")
    container.ip("link", "add", "link", "eth0", "name", "macvtap0", "address", mac, *mode)
    container.ip("link", "set", "macvtap0", "up")
    link = container.link("macvtap0")
    assert link is not None
    found = container.run("sh", "-c", "cat /sys/class/net/macvtap0/tap*/dev").stdout
    major, minor = map(int, found.split(":"))
    node = Path(f"/dev/vmnet-bench-{os.getpid()}")
    os.mknod(node, 0o600 | stat.S_IFCHR, os.makedev(major, minor))
    try:
        fd = os.open(node, os.O_RDWR | os.O_NONBLOCK)
    finally:
        node.unlink()
    os.set_blocking(fd, True)
    _attach(fd, "macvtap0")
    return fd


def _tap(container: Namespace) -> int:
    with container.entered():
        fd = os.open("/dev/net/tun", os.O_RDWR)
        _attach(fd, "tap0")
    container.ip("address", "flush", "dev", "eth0")
    return fd


def _attach(fd: int, name: str) -> None:
    flags = _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR
    fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", name.encode(), flags))
