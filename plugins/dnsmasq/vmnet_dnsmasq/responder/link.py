"""Packet sockets on a tap and on a bridge.

On a tap, which is a bridge port, a socket for all protocols receives each frame before the bridge
does, and its frames go to the guest. On a bridge, the responder sends only ARP for the bridge's
address.
"""

from __future__ import annotations

import errno
import socket

from vmnet.net import packet_socket, packets
from vmnet.net.filters import cbpf
from vmnet.net.filters.cbpf import JEQ, LD, LDB, LDH, RET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from vmnet.net.filters.cbpf import Instruction

_ETH_P_EXPERIMENT = 0x88B5  # IEEE 802, for local experiments: no such frames are expected
_PACKET_OTHERHOST = 3
_QUEUE, _LONGEST = 1 << 16, 2048  # bytes
_IS_DOWN = (errno.ENETDOWN, errno.ENXIO, errno.ENODEV)


class Link:
    """A device, and a packet socket on it.

    :param protocol: the EtherType to receive
    :param program: the BPF program that selects the frames, in bytes
    :raises OSError: there is no such device, or raw sockets are not allowed here
    """

    def __init__(self, name: str, protocol: int, program: bytes) -> None:
        self._name, self._index = name, socket.if_nametoindex(name)
        # Protocol 0 receives nothing until the filter is attached.
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _QUEUE)
        packet_socket.ignore_outgoing(self._socket)
        packet_socket.attach_filter(self._socket, program)
        self._socket.bind((name, protocol))
        self._socket.setblocking(False)

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self) -> bytes:
        """Return a frame, truncated to 2048 bytes; empty if none is waiting."""
        try:
            return self._socket.recv(_LONGEST)
        except OSError:  # the device is down or gone, see :meth:`exists`
            return b""

    def select(self, program: bytes) -> None:
        """Replace the filter for the frames to come."""
        packet_socket.attach_filter(self._socket, program)

    def hear(self, program: bytes) -> None:
        """Replace the filter, and drop the waiting frames."""
        self.select(program)
        while self.receive():
            pass

    def send(self, frame: bytes) -> None:
        """Send a frame; drop it if the device is down or the queue is full."""
        try:
            self._socket.send(frame)
        except OSError as error:
            if error.errno not in (*_IS_DOWN, errno.ENOBUFS, errno.EAGAIN, errno.EMSGSIZE):
                raise

    def exists(self) -> bool:
        return _index(self._name) == self._index


def is_there(name: str) -> bool:
    """Return whether there is a device."""
    return _index(name) > 0


def _index(name: str) -> int:
    """Return the index of a device, or 0."""
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return 0


def tap(name: str, guest: bytes) -> Link:
    """Open a tap to receive the guest's frames.

    :param guest: the guest's MAC; other machines behind the tap get no answer
    """
    return Link(name, packet_socket.ETH_P_ALL, packet_filter(guest))


def watch(name: str) -> Link:
    """Open a device only to notice its end."""
    return Link(name, _ETH_P_EXPERIMENT, cbpf.assemble({"drop": [(RET, 0, 0, 0)]}))


def bridge(name: str, program: bytes) -> Link:
    """Open a bridge to receive ARP.

    :param program: the BPF program that selects the frames, see :func:`claims`
    """
    return Link(name, packets.ETH_P_ARP, program)


def claims(address: bytes, mac: bytes, *, probes: bool = False) -> bytes:
    """Return a program for ARP in which another machine claims an address (RFC 5227 section 2.4).

    It drops VLAN frames. The kernel has removed their tag, and marks them as for another host.

    :param mac: the bridge's MAC
    :param probes: also match probes for the address (section 2.1.1); if the bridge has the address,
        the kernel answers these
    """
    high, low = _words(mac)
    wanted = int.from_bytes(address, "big")
    claim = _require(LD, 28, wanted)
    if probes:  # without a sender, and with the address as target
        claim = ((LD, 28, 0, 0), (JEQ, wanted, 3, 0), (JEQ, 0, 0, "drop"))
        claim += _require(LD, 38, wanted)
    return _assemble(
        *((LD, cbpf.PACKET_TYPE, 0, 0), (JEQ, _PACKET_OTHERHOST, "drop", 0)),
        *_require(LD, 14, 0x00010800),  # Ethernet and IPv4
        *_require(LDH, 18, 0x0604),  # the lengths of their addresses
        *claim,
        *((LD, 22, 0, 0), (JEQ, high, 0, "accept")),  # the sender's MAC
        *((LDH, 26, 0, 0), (JEQ, low, "drop", "accept")),
    )


def packet_filter(guest: bytes) -> bytes:
    """Return a program for untagged frames from the guest to a router or a DHCPv6 server."""
    high, low = _words(guest)
    return _assemble(
        *_require(LD, cbpf.VLAN_TAG_PRESENT, 0),
        *_require(LDH, 12, packets.ETH_P_IPV6),
        *_require(LD, 6, high),
        *_require(LDH, 10, low),
        (LDB, 20, 0, 0),  # next header
        (JEQ, packets.ICMPV6, 3, 0),
        *((JEQ, packets.UDP, 0, "drop"), (LDH, 56, 0, 0)),  # destination port
        (JEQ, packets.DHCP6_SERVER_PORT, "accept", "drop"),
        (LDB, 54, 0, 0),  # ICMPv6 type
        (JEQ, packets.ROUTER_SOLICITATION, "accept", 0),
        (JEQ, packets.NEIGHBOUR_SOLICITATION, "accept", "drop"),
    )


def _assemble(*instructions: Instruction) -> bytes:
    """Return the program as bytes; instructions jump to ``accept`` or ``drop``."""
    ends = {"accept": [(RET, _LONGEST, 0, 0)], "drop": [(RET, 0, 0, 0)]}
    return cbpf.assemble({"start": instructions, **ends})


def _require(load: int, offset: int, value: int) -> tuple[Instruction, ...]:
    return (load, offset, 0, 0), (JEQ, value, 0, "drop")


def _words(mac: bytes) -> tuple[int, int]:
    """Return the first four bytes and the last two bytes of a MAC as numbers."""
    return int.from_bytes(mac[:4], "big"), int.from_bytes(mac[4:], "big")
