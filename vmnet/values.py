"""Parsers for the values of environment variables.

Each takes the text and returns the value, or raises ValueError with what it expects: a phrase that
completes "VMNET_MEMORY=lots is not …".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, ip_address
from pathlib import Path
from typing import TypeVar

Value = TypeVar("Value")

_TRUE = frozenset(("true", "1", "yes", "on"))
_FALSE = frozenset(("false", "0", "no", "off"))
_UNITS = {"": 20, "k": 10, "m": 20, "g": 30, "t": 40}
_SIZE = re.compile(r"(\d+)\s*(?:([kmgt])i?)?b?", re.IGNORECASE | re.ASCII)
_NO_USER = (1 << 32) - 1  # setresuid(2) takes it for "no change"
_FOLDER = re.compile(r"(/[A-Za-z0-9._@+~-]+)+/?", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*", re.ASCII)


def text(value: str) -> str:
    """Any text of one line."""
    if not value.isprintable():
        raise ValueError("a line of printable text")
    return value


def boolean(value: str) -> bool:
    """true, 1, yes, on or false, 0, no, off in any case."""
    lowered = value.strip().lower()
    if lowered in _TRUE or lowered in _FALSE:
        return lowered in _TRUE
    raise ValueError("one of true, 1, yes, on, false, 0, no, off")


def size(value: str) -> int:
    """A number of bytes; without a unit, of MiB as QEMU's ``-m`` has it.

    ``2G``, Kubernetes' ``2Gi`` and ``2GiB`` are the same.
    """
    match = _SIZE.fullmatch(value.strip())
    if match is None or int(match[1]) == 0:
        raise ValueError("a size such as 512M or 2G")
    return int(match[1]) << _UNITS[(match[2] or "").lower()]


def integer(low: int, high: int) -> Callable[[str], int]:
    """A whole number from ``low`` to ``high``."""

    def parse(value: str) -> int:
        stripped = value.strip()
        if not (stripped.isascii() and stripped.isdecimal() and low <= int(stripped) <= high):
            raise ValueError(f"a whole number from {low} to {high}")
        return int(stripped)

    return parse


def choice(*allowed: str) -> Callable[[str], str]:
    """One of a few words, in any case."""

    def parse(value: str) -> str:
        lowered = value.strip().lower()
        if lowered not in allowed:
            raise ValueError(f"one of {', '.join(allowed)}{nearest(lowered, allowed)}")
        return lowered

    return parse


def name(value: str) -> str:
    """A strategy's or an interface's name."""
    stripped = value.strip()
    if not _NAME.fullmatch(stripped):
        raise ValueError("a name of letters, digits, '.', '-' and '_'")
    return stripped


def listed(parse: Callable[[str], Value]) -> Callable[[str], tuple[Value, ...]]:
    """A comma-separated list without repeats."""

    def parse_list(value: str) -> tuple[Value, ...]:
        found = tuple(parse(part.strip()) for part in value.split(","))
        if len(set(found)) != len(found):
            raise ValueError("a list in which each entry stands once")
        return found

    return parse_list


def absolute_path(value: str) -> Path:
    """A path that starts with ``/``."""
    if not value.startswith("/") or not value.isprintable():
        raise ValueError("an absolute path, as the container sees it")
    return Path(value)


def folder(value: str) -> Path:
    """A path that needs no quotes in any file, and is short enough for a Unix socket below it.

    A socket's has 107 bytes (unix(7)), and the longest of ours takes 17 of them.
    """
    if not _FOLDER.fullmatch(value) or ".." in value.split("/") or len(value) > 90:
        raise ValueError(
            "an absolute path of at most 90 characters, which are letters, digits, '.', '_', '-', "
            "'+', '@' and '~'"
        )
    return Path(value)


def is_interface(value: str) -> bool:
    """Whether it can name a network interface: IFNAMSIZ is 16 with the final zero."""
    return len(value) <= 15 and _NAME.fullmatch(value) is not None


def is_mac(value: str) -> bool:
    """Whether it is a MAC address, colons between its bytes."""
    return re.fullmatch(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}", value, re.ASCII) is not None


def ip(value: str) -> IPv4Address | IPv6Address:
    """An IPv4 or IPv6 address, without a zone: the guest's links have other names than ours.

    An unspecified one is no server's.
    """
    try:
        found = ip_address(value.strip())
        if "%" in value or found.is_unspecified:
            raise ValueError
        return found
    except ValueError:
        raise ValueError("a list of IP addresses such as 192.0.2.53,2001:db8::53") from None


def bridge_address(value: str) -> str | IPv4Interface:
    """auto, link-local, spare, or an address with its prefix length."""
    lowered = value.strip().lower()
    if lowered in ("auto", "link-local", "spare"):
        return lowered
    try:
        if "/" in lowered:
            return IPv4Interface(lowered)
    except ValueError:
        pass
    raise ValueError("auto, link-local, spare, or an address such as 10.0.0.250/24")


def user(value: str) -> str | tuple[int, int]:
    """auto, root, or the numbers of a user and, behind a colon, of a group."""
    lowered = value.strip().lower()
    if lowered in ("auto", "root"):
        return lowered
    match = re.fullmatch(r"(\d{1,10})(?::(\d{1,10}))?", lowered, re.ASCII)
    if match is None or int(match[1]) == 0 or max(map(int, match.groups("1"))) >= _NO_USER:
        raise ValueError("auto, root, or numbers such as 1000 or 1000:1000")
    return int(match[1]), int(match[2] or match[1])


def shell_words(value: str) -> tuple[str, ...]:
    """Words quoted as a POSIX shell would have them; no shell runs them."""
    import shlex

    try:
        return tuple(shlex.split(value))
    except ValueError as error:
        raise ValueError(f"a list of arguments: {error}") from None


def nearest(wrong: str, known: tuple[str, ...]) -> str:
    """`` (did you mean 'x'?)``, or nothing where no known word is close."""
    import difflib

    close = difflib.get_close_matches(wrong, known, n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""
