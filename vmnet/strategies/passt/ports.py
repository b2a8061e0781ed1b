"""The ports on which passt accepts connections for the guest. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from attrs import evolve

from vmnet.api import PortRange, frozen

LAST = 65535
# Each port is a socket of passt, about 4 KiB of kernel memory. Few services use higher ports.
AUTO_LAST = 10000
# The part of the limit of open files that sockets of ports may take; connections need the rest.
_SHARE = 3, 4
_ITEM = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp))?", re.ASCII)

Range = tuple[int, int]


@frozen
class Ports:
    """Ports of the guest that can be reached from the network.

    :param tcp: ranges, each with its first and last port
    :param udp: likewise
    :param weak: whether ports that cannot be bound are left out without an error
    """

    tcp: tuple[Range, ...]
    udp: tuple[Range, ...]
    weak: bool = False

    @property
    def count(self) -> int:
        """The number of sockets."""
        return sum(last - first + 1 for first, last in (*self.tcp, *self.udp))


def parse(value: str) -> Ports | None:
    """Parse ``auto``, ``all``, ``none`` or a list such as ``22,80/tcp,53/udp,5000-6000``.

    Return None for ``auto``.
    """
    word = value.strip().lower()
    if word == "auto":
        return None
    if word == "none":
        return Ports((), ())
    if word == "all":
        return Ports(((1, LAST),), ((1, LAST),), weak=True)
    tcp: list[Range] = []
    udp: list[Range] = []
    for part in word.split(","):
        match = _ITEM.fullmatch(part.strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if match is None or not 1 <= first <= last <= LAST:
            raise ValueError("auto, all, none, or a list of ports such as 22,53/udp,5000-6000")
        if match[3] != "udp":
            tcp.append((first, last))
        if match[3] != "tcp":
            udp.append((first, last))
    return Ports(_joined(tcp), _joined(udp))


def automatic(open_files: int, interfaces: int = 1) -> Ports:
    """Return the first ports of TCP and UDP, as many as a limit of open files allows.

    :param interfaces: their number; they share the memory that the sockets of one may take
    """
    last = min(AUTO_LAST // interfaces, fitting(open_files) // 2)
    return Ports(((1, last),), ((1, last),), weak=True)


def fitting(open_files: int) -> int:
    """Return how many ports a limit of open files allows."""
    return open_files * _SHARE[0] // _SHARE[1]


def without(chosen: Ports, kept: Iterable[PortRange]) -> Ports:
    """Return ports without those that the container keeps for its own services."""
    by_protocol: dict[str, tuple[Range, ...]] = {"tcp": chosen.tcp, "udp": chosen.udp}
    for each in kept:
        by_protocol[each.protocol] = tuple(
            part
            for first, last in by_protocol[each.protocol]
            for part in ((first, min(last, each.first - 1)), (max(first, each.last + 1), last))
            if part[0] <= part[1]
        )
    return evolve(chosen, tcp=by_protocol["tcp"], udp=by_protocol["udp"])


def occupied(chosen: Ports, listening: Iterable[PortRange]) -> tuple[PortRange, ...]:
    """Return the ports on which programs of the container listen, and passt cannot."""
    by_protocol = {"tcp": chosen.tcp, "udp": chosen.udp}
    return tuple(
        own
        for own in listening
        if any(first <= own.first <= last for first, last in by_protocol[own.protocol])
    )


def option(ranges: Iterable[Range], weak: bool, listen: str = "") -> str:
    """Return passt's specification of ports, for ``--tcp-ports`` and ``--udp-ports``.

    :param listen: the address or the interface of the sockets; empty for all

    passt requires every port that is given, and skips what it cannot bind if only the ports that
    it must leave out are given. It then also leaves out the ports of outgoing connections.
    """
    chosen = tuple(ranges)
    if not chosen:
        return "none"
    if weak:
        left_out = tuple(_words(_gaps(chosen)))
        if not (left_out or listen):
            return "all"
        # passt does not accept `all` with an address. Port 0 does not exist.
        return _listen(listen) + ",".join(f"~{word}" for word in left_out or ("0",))
    return _listen(listen) + ",".join(_words(chosen))


def _listen(where: str) -> str:
    return where and f"{where}/"


def _gaps(ranges: Iterable[Range]) -> Iterator[Range]:
    after = 1
    for first, last in ranges:
        if first > after:
            yield after, first - 1
        after = last + 1
    if after <= LAST:
        yield after, LAST


def _joined(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """Return sorted ranges that do not overlap, because passt refuses a repeated port."""
    joined: list[Range] = []
    for first, last in sorted(ranges):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = joined[-1][0], max(joined[-1][1], last)
        else:
            joined.append((first, last))
    return tuple(joined)


def _words(ranges: Iterable[Range]) -> Iterator[str]:
    for first, last in ranges:
        yield str(first) if first == last else f"{first}-{last}"
