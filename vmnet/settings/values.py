"""Parsers for the values of environment variables.

Each parser converts text to a value. Its ValueError states what it expects, as a phrase that
completes "VMNET_MEMORY=lots is not …".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, ip_address
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, TypeVar

from vmnet.model.architecture import ARCHITECTURES, named
from vmnet.model.nic_models import MODELS, VIRTIO, NicModels
from vmnet.model.ports import PortRange

Value = TypeVar("Value")

_TRUE = frozenset(("true", "1", "yes", "on"))
_FALSE = frozenset(("false", "0", "no", "off"))
_UNITS = {"": 20, "k": 10, "m": 20, "g": 30, "t": 40}
_SIZE = re.compile(r"(\d+)\s*(?:([kmgt])i?)?b?", re.IGNORECASE | re.ASCII)
_LEAST_MEMORY = 16 << 20
_NO_USER = (1 << 32) - 1  # means "no change" to setresuid(2)
_FOLDER = re.compile(r"(/[A-Za-z0-9._@+~-]+)+/?", re.ASCII)
_PORTS = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp))?", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*", re.ASCII)


def text(value: str) -> str:
    """Accept any printable text on one line."""
    if not value.isprintable():
        raise ValueError("a line of printable text")
    return value


def boolean(value: str) -> bool:
    """Parse true, 1, yes, on or false, 0, no, off, in any case."""
    lowered = value.strip().lower()
    if lowered in _TRUE or lowered in _FALSE:
        return lowered in _TRUE
    raise ValueError("one of true, 1, yes, on, false, 0, no, off")


def size(value: str) -> int:
    """Return a number of bytes. A number without a unit is in MiB, as for QEMU's ``-m``.

    ``2G``, Kubernetes' ``2Gi`` and ``2GiB`` mean the same.
    """
    match = _SIZE.fullmatch(value.strip())
    if match is None or int(match[1]) == 0:
        raise ValueError("a size such as 512M or 2G")
    return int(match[1]) << _UNITS[(match[2] or "").lower()]


class Share(NamedTuple):
    """A part of a resource."""

    percent: int


def memory(value: str) -> int | Share | str:
    """Parse a size of at least 16 MiB, a percentage, max, which is 100%, or auto."""
    lowered = value.strip().lower()
    if lowered == "auto":
        return lowered
    match = re.fullmatch(r"([1-9]\d?|100)\s*%", "100%" if lowered == "max" else lowered, re.ASCII)
    if match is not None:
        return Share(int(match[1]))
    try:
        found = size(value)
    except ValueError:
        raise ValueError("a size such as 512M or 2G, a part such as 75%, max or auto") from None
    if found < _LEAST_MEMORY:  # such as 4, meant as GiB, in which no system would boot
        raise ValueError("at least 16M; a number without a unit is in MiB, such as 512 or 2048")
    return found


def cpus(value: str) -> int | str:
    """Parse a number of CPUs, auto or max."""
    lowered = value.strip().lower()
    if lowered in ("auto", "max"):
        return lowered
    try:
        return integer(1, 1024)(value)
    except ValueError as error:
        raise ValueError(f"{error}, auto or max") from None


def integer(low: int, high: int) -> Callable[[str], int]:
    """Return a parser for whole numbers from ``low`` to ``high``."""

    def parse(value: str) -> int:
        stripped = value.strip()
        if not (stripped.isascii() and stripped.isdecimal() and low <= int(stripped) <= high):
            raise ValueError(f"a whole number from {low} to {high}")
        return int(stripped)

    return parse


def choice(*allowed: str) -> Callable[[str], str]:
    """Return a parser for one of the ``allowed`` words, in any case."""

    def parse(value: str) -> str:
        lowered = value.strip().lower()
        if lowered not in allowed:
            raise ValueError(f"one of {', '.join(allowed)}{nearest(lowered, allowed)}")
        return lowered

    return parse


def name(value: str) -> str:
    """Parse the name of a strategy or an interface."""
    stripped = value.strip()
    if not _NAME.fullmatch(stripped):
        raise ValueError("a name of letters, digits, '.', '-' and '_'")
    return stripped


def listed(parse: Callable[[str], Value]) -> Callable[[str], tuple[Value, ...]]:
    """Return a parser for comma-separated lists without repeated entries."""

    def parse_list(value: str) -> tuple[Value, ...]:
        entries = tuple(parse(part.strip()) for part in value.split(","))
        if len(set(entries)) != len(entries):
            raise ValueError("a list without repeated entries")
        return entries

    return parse_list


def absolute_path(value: str) -> Path:
    """Parse a path that starts with ``/``."""
    if not value.startswith("/") or not value.isprintable():
        raise ValueError("an absolute path in the container")
    return Path(value)


def architecture(value: str) -> str:
    """Parse auto, or the name or alias of an architecture, and return the name."""
    lowered = value.strip().lower()
    if lowered == "auto":
        return lowered
    found = named(lowered)
    if found is None:
        known = tuple(name for each in ARCHITECTURES for name in (each.name, each.alias))
        expected = ", ".join(f"{each.name} ({each.alias})" for each in ARCHITECTURES)
        raise ValueError(f"{expected} or auto{nearest(lowered, known)}")
    return found.name


def firmware(value: str) -> Path | str:
    """Parse auto, bios, uefi, secureboot, none, or the absolute path of an image."""
    lowered = value.strip().lower()
    if lowered in ("auto", "bios", "uefi", "secureboot", "none"):
        return lowered
    try:
        return absolute_path(value)
    except ValueError as error:
        raise ValueError(f"auto, bios, uefi, secureboot, none, or {error}") from None


def folder(value: str) -> Path:
    """Parse a path that needs no quotes in any file and leaves room for Unix sockets below it.

    The path of a socket has at most 107 bytes (unix(7)); vmnet's longest socket name takes 17.
    """
    if not _FOLDER.fullmatch(value) or ".." in value.split("/") or len(value) > 90:
        raise ValueError(
            "an absolute path of at most 90 characters, which are letters, digits, '.', '_', '-', "
            "'+', '@' and '~'"
        )
    return Path(value)


def is_interface(value: str) -> bool:
    """Return whether the text can name a network interface (IFNAMSIZ is 16, with the final NUL)."""
    return len(value) <= 15 and _NAME.fullmatch(value) is not None


def is_mac(value: str) -> bool:
    """Return whether the text is a MAC address with colons."""
    return re.fullmatch(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}", value, re.ASCII) is not None


def ip(value: str) -> IPv4Address | IPv6Address:
    """Parse the IPv4 or IPv6 address of a server.

    A zone is refused, because the guest's links have different names than the container's. The
    unspecified addresses are refused, because no server has them.
    """
    try:
        address = ip_address(value.strip())
        if "%" in value or address.is_unspecified:
            raise ValueError
        return address
    except ValueError:
        raise ValueError("a list of IP addresses such as 192.0.2.53,2001:db8::53") from None


def bridge_address(value: str) -> str | IPv4Interface:
    """Parse auto, link-local, spare, or an address with its prefix length."""
    lowered = value.strip().lower()
    if lowered in ("auto", "link-local", "spare"):
        return lowered
    try:
        if "/" in lowered and _is_host(address := IPv4Interface(lowered)):
            return address
    except ValueError:
        pass
    raise ValueError("auto, link-local, spare, or an address such as 10.0.0.250/24")


def _is_host(address: IPv4Interface) -> bool:
    network = address.network
    reserved = (network.network_address, network.broadcast_address)
    if address.is_loopback or address.is_multicast or address.is_unspecified:
        return False
    return network.num_addresses <= 2 or address.ip not in reserved


def ports(value: str) -> tuple[PortRange, ...]:
    """Parse a list of ports and ranges of ports, each with or without ``/tcp`` or ``/udp``."""
    found = sorted(
        (_port_range(part.strip()) for part in value.split(",")),
        key=lambda part: (part.protocol, part.first),
    )
    for before, after in pairwise(found):
        if before.protocol == after.protocol and after.first <= before.last:
            raise ValueError(f"a list without repeated ports: {before} and {after} overlap")
    return tuple(found)


def _port_range(text: str) -> PortRange:
    match = _PORTS.fullmatch(text.lower())
    if match is not None:
        first, last = int(match[1]), int(match[2] or match[1])
        if 0 < first <= last < 1 << 16:
            return PortRange(match[3] or "tcp", first, last)
    raise ValueError("a list of ports such as 8006,5900-5910,161/udp")


def nic_models(value: str) -> NicModels:
    """Parse models such as ``e1000,eth1=vmxnet3``: a model for all NICs, and exceptions."""
    found: dict[str, str] = {}
    for entry in value.split(","):
        interface, separator, name = entry.strip().rpartition("=")
        model = name.lower()
        if model not in MODELS or bool(separator) != is_interface(interface) or interface in found:
            raise ValueError(
                f"a model ({', '.join(MODELS)}), models of single interfaces, or both, such as "
                f"e1000,eth1=vmxnet3{nearest(model, MODELS)}"
            )
        found[interface] = model
    others = found.pop("", VIRTIO)
    return NicModels(others, tuple(found.items()))


def user(value: str) -> str | tuple[int, int]:
    """Parse auto, root, a user ID, or a user ID and a group ID separated by a colon."""
    lowered = value.strip().lower()
    if lowered in ("auto", "root"):
        return lowered
    match = re.fullmatch(r"(\d{1,10})(?::(\d{1,10}))?", lowered, re.ASCII)
    if match is None or int(match[1]) == 0 or max(map(int, match.groups("1"))) >= _NO_USER:
        raise ValueError("auto, root, or numbers such as 1000 or 1000:1000")
    return int(match[1]), int(match[2] or match[1])


def shell_words(value: str) -> tuple[str, ...]:
    """Split words with the quoting rules of a POSIX shell."""
    import shlex

    try:
        return tuple(shlex.split(value))
    except ValueError as error:
        raise ValueError(f"a list of arguments: {error}") from None


def nearest(wrong: str, known: tuple[str, ...], prefix: str = "") -> str:
    """Return `` (did you mean 'x'?)``, or an empty string if no known word is close.

    :param prefix: what begins most words, and would make all of them close
    """
    import difflib

    words = {word.removeprefix(prefix): word for word in known}
    close = difflib.get_close_matches(wrong.removeprefix(prefix), words, n=1)
    return f" (did you mean '{words[close[0]]}'?)" if close else ""
