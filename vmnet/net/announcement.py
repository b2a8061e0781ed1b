"""Announce the guest's addresses in the guest's name, before the guest can.

A switch learns at once behind which port the guest's MAC is, and neighbours replace the MAC of an
earlier owner of the address. Otherwise a switch learns this only from the guest's first frames,
long after the start, because the DHCP messages with which a guest begins stay in the container.
"""

from __future__ import annotations

import fcntl
import logging
import os
import socket
import struct
import time
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address

from vmnet.net import packets

_log = logging.getLogger(__name__)
_VIRTIO_HEADER = bytes(10)  # which precedes each frame of a tap: no offloads
_OVERRIDE = 1 << 29
_ALL_NODES = IPv6Address("ff02::1").packed
_SIOCGIFFLAGS, _IFF_RUNNING = 0x8913, 0x40
_IFREQ = struct.Struct("16sH22x")
# Seconds. The kernel sees an uplink's carrier within milliseconds, mostly while the start does
# other things. Before that, a bridge does not forward through the uplink.
_LONGEST, _STEP = 0.05, 0.005


def announce(uplink: str, tap: int, mac: str, addresses: Iterable[object]) -> None:
    """Send the announcements as frames of the guest, so that they take the guest's path.

    A failure is logged: the guest itself makes its addresses known sooner or later.

    :param tap: an open descriptor of the guest's tap
    """
    try:
        _await_carrier(uplink)
        for frame in frames(mac, addresses):
            os.write(tap, _VIRTIO_HEADER + frame)
    except OSError as error:
        _log.warning(
            "%s: can't announce the guest's addresses: %s",
            uplink,
            error.strerror,
            extra={"event": "network.announcement_failed"},
        )


def announce_by_uplink(uplink: str, mac: str, addresses: Iterable[object]) -> None:
    """Send the announcements on an uplink that has been replaced, whose tap the hypervisor has."""
    try:
        _await_carrier(uplink)
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as link:
            link.bind((uplink, 0))
            for frame in frames(mac, addresses):
                link.send(frame)
    except OSError as error:
        _log.warning(
            "%s: can't announce the guest's addresses: %s",
            uplink,
            error.strerror,
            extra={"event": "network.announcement_failed"},
        )


def frames(mac: str, addresses: Iterable[object]) -> Iterator[bytes]:
    """Yield an ARP announcement (RFC 5227 section 3) or an unsolicited neighbour advertisement
    (RFC 4861 section 7.2.6) for each address.
    """
    own = packets.mac_bytes(mac)
    for address in addresses:
        if isinstance(address, IPv4Address):
            header = packets.ETHERNET.pack(packets.BROADCAST, own, packets.ETH_P_ARP)
            yield header + packets.arp_request(own, address.packed, address.packed)
        elif isinstance(address, IPv6Address):
            target = struct.pack("!BxxxI", packets.NEIGHBOUR_ADVERTISEMENT, _OVERRIDE)
            message = target + address.packed + b"\x02\x01" + own
            to = packets.multicast_mac(_ALL_NODES)
            header = packets.ETHERNET.pack(to, own, packets.ETH_P_IPV6)
            yield header + packets.icmp6(address.packed, _ALL_NODES, message)


def _await_carrier(uplink: str) -> None:
    request = _IFREQ.pack(uplink.encode(), 0)
    end = time.monotonic() + _LONGEST
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as query:
        while time.monotonic() < end:
            _, flags = _IFREQ.unpack(fcntl.ioctl(query, _SIOCGIFFLAGS, request))
            if flags & _IFF_RUNNING:
                return
            time.sleep(_STEP)
