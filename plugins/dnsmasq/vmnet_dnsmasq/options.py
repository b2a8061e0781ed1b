"""DHCP options for dnsmasq.conf: unambiguous, and within dnsmasq's limits. Pure functions.

dnsmasq guesses a value's type from its form: it does not take ``ignore``, ``2h``, ``1234`` or
``12s`` for names. It passes names with capitals through IDNA, which refuses some. It rejects an
option of more than 255 bytes and a line of more than 1023 characters, and omits an option that does
not fit into the client's packet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import IPv4Address
from typing import TypeVar

from vmnet.api import frozen
from vmnet_dnsmasq.routes import CAPACITY, Pair

_LINE = 1023  # characters: dnsmasq's MAXDNAME without the newline and a NUL
_OVERHEAD = len("dhcp-option=tag:tap65535,tag:classless,option:dns-server,")
# Bytes for options in a packet to a client that announces no larger size (RFC 2131 section 2), as
# dnsmasq fills it: the options field without cookie, message type, server, lease time, netmask,
# broadcast address and option overload; then the fields for a file and for a server's name.
_ROOMS = (312 - 4 - 3 - 6 - 6 - 6 - 6 - 3, 128, 64)
# Values that dnsmasq takes for the unit of a number.
_UNITS = ("s", "i")
# Bytes: an option's code and length; what dnsmasq keeps free behind an option; and the overload
# option, which dnsmasq adds when options continue in the other fields. It reserves room for the
# overload option, and does not use that room.
_HEAD, _SPARE, _OVERLOAD = 2, 1, 3

Item = TypeVar("Item")


@frozen
class Option:
    """A DHCP option.

    :param code: its number or name
    :param value: its value in dnsmasq.conf; if it is empty, dnsmasq sends no such option
    :param size: in bytes
    :param label: its name in messages
    :param tag: a further tag that a client needs to get this option instead of an untagged option
        with the same code
    """

    code: str
    value: str
    size: int
    label: str
    tag: str = ""


def quoted(value: object) -> str:
    """Quote a value, so that dnsmasq interprets no digits and no separators in it."""
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def host_name(name: str) -> str:
    """Return a host name for ``dhcp-host``; empty if dnsmasq would change or refuse it.

    It writes names in lower case, and refuses a leading underscore. The dot at the name's end makes
    it unambiguous.
    """
    return f"{name}." if name == name.lower() and not name.startswith("_") else ""


def fitting(
    items: Sequence[Item], size: Callable[[Sequence[Item]], int], text: Callable[[Item], str]
) -> int:
    """Return how many of the first items fit into an option and its line."""
    count = length = 0
    for item in items:
        length += len(text(item)) + 1
        if size(items[: count + 1]) > CAPACITY or _OVERHEAD + length > _LINE:
            break
        count += 1
    return count


def servers_fitting(addresses: Sequence[IPv4Address]) -> int:
    return fitting(addresses, _addresses_size, str)


def search_fitting(names: Sequence[str]) -> int:
    return fitting(names, search_size, _absolute)


def addresses(code: str, ips: Sequence[IPv4Address], label: str) -> Option:
    value = ",".join(map(str, ips))
    return Option(f"option:{code}", value, _addresses_size(ips), label)


def search(names: Sequence[str]) -> Option:
    """Return option 119 (RFC 3397)."""
    value = ",".join(map(_absolute, names))
    return Option("option:domain-search", value, search_size(names), "search domains")


def domain(name: str) -> Option:
    """Return option 15."""
    plain = name.removesuffix(".")
    text = f"{plain}." if plain in _UNITS else plain
    return Option("option:domain-name", quoted(text), len(text), "domain")


def own_name(name: str) -> Iterator[Option]:
    """Yield option 12, in the name's case; only ``dhcp-host`` can carry a name that is a unit."""
    if name not in _UNITS:
        yield Option("12", quoted(name), len(name), "host name")


def mtu(value: int) -> Option:
    return Option("option:mtu", str(value), 2, "MTU")


def routes(code: str, pairs: Iterable[Pair], label: str) -> Option:
    """Return option 121 (RFC 3442): readable if it fits into a line, otherwise in hexadecimal."""
    known = tuple(pairs)
    packed = b"".join(
        bytes((network.prefixlen,))
        + network.network_address.packed[: -(-network.prefixlen // 8)]
        + gateway.packed
        for network, gateway in known
    )
    text = ",".join(f"{network},{gateway}" for network, gateway in known)
    value = text if _OVERHEAD + len(text) <= _LINE else packed.hex(":")
    return Option(code, value, len(packed), label)


def lost(options: Iterable[Option]) -> Iterator[Option]:
    """Yield the options that do not fit into the smallest packet.

    :param options: in the order in which dnsmasq sends them
    """
    used = [0] * len(_ROOMS)
    overloads = False
    for option in options:
        if not option.size:
            continue
        places = [
            place
            for place, room in enumerate(_ROOMS)
            if used[place] + _HEAD + option.size + _SPARE < room
        ]
        if places:
            used[places[0]] += _HEAD + option.size
        else:
            yield option
        if places[:1] != [0] and not overloads:
            overloads = True
            used[0] += _OVERLOAD


def search_size(names: Sequence[str]) -> int:
    """Return the bytes of option 119, compressed as dnsmasq does: names can share their end.

    dnsmasq searches the preceding names for a shared suffix, up to the first name that it has
    compressed.
    """
    ends: set[str] = set()
    size, is_shortened = 0, False
    for name in names:
        labels = _absolute(name).removesuffix(".").split(".")
        own: set[str] = set()
        for place, label in enumerate(labels):
            end = ".".join(labels[place:])
            if end in ends:
                size += 2
                is_shortened = True
                break
            size += 1 + len(label)
            own.add(end)
        else:
            size += 1
        if not is_shortened:
            ends |= own
    return size


def _addresses_size(ips: Sequence[IPv4Address]) -> int:
    return 4 * len(ips)


def _absolute(name: str) -> str:
    """Return a domain in its unambiguous form, with a dot at its end."""
    return f"{name.removesuffix('.').lower()}."
