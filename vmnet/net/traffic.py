"""The kernel's counters of network devices, and of the packets that filters dropped."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

from vmnet.model.base import frozen
from vmnet.net import dump, netlink

_DEVICES = Path("/proc/self/net/dev")
_TRAFFIC = struct.Struct("=BxxxiIII")  # struct tcmsg
_TCA_KIND, _TCA_STATS2, _TCA_STATS_QUEUE = 1, 7, 3
_QUEUE = struct.Struct("=IIIII")  # struct gnet_stats_queue: the third is the dropped packets


@frozen
class Counters:
    """The counters of a device, from the container's point of view."""

    received_bytes: int
    received: int
    sent_bytes: int
    sent: int
    sent_dropped: int


def counters() -> dict[str, Counters]:
    """Return the counters of all devices by name (proc_net_dev(5))."""
    found = {}
    for line in _DEVICES.read_text().splitlines()[2:]:
        name, _, text = line.partition(":")
        numbers = [int(number) for number in text.split()]
        found[name.strip()] = Counters(
            received_bytes=numbers[0],
            received=numbers[1],
            sent_bytes=numbers[8],
            sent=numbers[9],
            sent_dropped=numbers[11],
        )
    return found


def filtered() -> dict[int, int]:
    """Return how many packets the filters of each device dropped, by the device's index.

    The kernel counts the packets that a filter under clsact drops, in both directions.

    :raises OSError: the kernel refused
    """
    request = _TRAFFIC.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    found = {}
    for body in dump.bodies(dump.RTM_GETQDISC, request):
        _, index, *_ = _TRAFFIC.unpack_from(body)
        attributes = dict(netlink.attributes(body[_TRAFFIC.size :]))
        if attributes.get(_TCA_KIND) == b"clsact\0":
            statistics = dict(netlink.attributes(attributes.get(_TCA_STATS2, b"")))
            if _TCA_STATS_QUEUE in statistics:
                _, _, found[index], *_ = _QUEUE.unpack_from(statistics[_TCA_STATS_QUEUE])
    return found
