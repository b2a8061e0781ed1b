"""DHCP options as dnsmasq.conf has them: read as what they are, and no longer than they can be.

dnsmasq guesses the type of a value by how it looks: ``ignore``, ``2h``, ``1234`` and ``12s`` are no
names to it, and it passes names with capitals through IDNA, which refuses some. It gives up on an
option of more than 255 bytes and on a line of more than 1023 characters, and sends no option for
which the client's packet has no room. Pure functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import IPv4Address
from typing import TypeVar

from vmnet.noun import Noun, noun
from vmnet_dnsmasq.routes import Pair

CAPACITY = 255
"""Bytes of an option: its length is one byte (RFC 2132 section 2)."""
_LINE = 1023  # characters; dnsmasq's MAXDNAME, less the line's end and a zero
_OVERHEAD = len("dhcp-option=tag:tap65535,tag:classless,option:dns-server,")
# A packet for a client that names no larger size (RFC 2131 section 2), as dnsmasq fills it: the
# options, less cookie, type, server, lease time, mask, broadcast address and the option that says
# that options go on in the fields for a file and for a server's name.
_ROOMS = (312 - 4 - 3 - 6 - 6 - 6 - 6 - 3, 128, 64)
# Letters that dnsmasq takes for a number's unit where they are the whole of a value.
_UNITS = ("s", "i")
# Bytes: an option's code and length, what dnsmasq keeps free behind it, and the option that it adds
# where another one goes to the other fields, for which it has kept room and does not use it.
_HEAD, _SPARE, _OVERLOAD = 2, 1, 3

Item = TypeVar("Item")


@noun
class Option(Noun):
    """One option.

    :param code: its number or name
    :param value: as dnsmasq.conf has it; dnsmasq sends none at all where it is empty
    :param size: in bytes
    :param label: what people call it
    :param tag: what else a client must have to get it, in place of another of the same code
    """

    code: str
    value: str
    size: int
    label: str
    tag: str = ""


def quoted(value: object) -> str:
    """A value that dnsmasq takes as it is: within quotes it sees no digits and no separators."""
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def host_name(name: str) -> str:
    """A host name for ``dhcp-host``; empty where dnsmasq takes none that begins so.

    With a dot behind it, nothing else looks like it.
    """
    return "" if name.startswith("_") else f"{name.lower()}."


def fitting(
    items: Sequence[Item], size: Callable[[Sequence[Item]], int], text: Callable[[Item], str]
) -> int:
    """How many of the items, from the first on, an option and its line hold."""
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


def addresses(code: str, given: Sequence[IPv4Address], label: str) -> Option:
    value = ",".join(map(str, given))
    return Option(f"option:{code}", value, _addresses_size(given), label)


def search(names: Sequence[str]) -> Option:
    """Option 119 (RFC 3397)."""
    value = ",".join(map(_absolute, names))
    return Option("option:domain-search", value, search_size(names), "search domains")


def domain(name: str) -> Option:
    """Option 15."""
    plain = name.removesuffix(".")
    text = f"{plain}." if plain in _UNITS else plain
    return Option("option:domain-name", quoted(text), len(text), "domain")


def own_name(name: str) -> Iterator[Option]:
    """Option 12, in the name's own case; a name that looks like a unit is ``dhcp-host``'s alone."""
    if name not in _UNITS:
        yield Option("12", quoted(name), len(name), "host name")


def mtu(value: int) -> Option:
    return Option("option:mtu", str(value), 2, "MTU")


def routes(code: str, pairs: Iterable[Pair], label: str) -> Option:
    """Option 121 (RFC 3442): for people to read as long as it fits a line, else in hexadecimal."""
    given = tuple(pairs)
    packed = b"".join(
        bytes((network.prefixlen,))
        + network.network_address.packed[: -(-network.prefixlen // 8)]
        + gateway.packed
        for network, gateway in given
    )
    text = ",".join(f"{network},{gateway}" for network, gateway in given)
    value = text if _OVERHEAD + len(text) <= _LINE else packed.hex(":")
    return Option(code, value, len(packed), label)


def lost(options: Iterable[Option]) -> Iterator[Option]:
    """Those that dnsmasq has no room for in the smallest packet, given in the order of sending."""
    used = [0] * len(_ROOMS)
    goes_on = False
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
        if places[:1] != [0] and not goes_on:
            goes_on = True
            used[0] += _OVERLOAD


def search_size(names: Sequence[str]) -> int:
    """Bytes of option 119, compressed as dnsmasq does: the end of a name can be another's.

    It looks for that end in the names before, up to the first that it has shortened.
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


def _addresses_size(given: Sequence[IPv4Address]) -> int:
    return 4 * len(given)


def _absolute(name: str) -> str:
    """A domain that looks like nothing else, as a host name does."""
    return f"{name.removesuffix('.').lower()}."
