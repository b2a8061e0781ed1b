"""Packet sockets on a tap and on a bridge.

On a tap, which is a bridge port, a socket for all protocols receives each frame before the bridge
does, and its frames go to the guest. On a bridge, the responder sends only ARP for the bridge's
address.
"""

from __future__ import annotations

import errno
import socket
import struct
from array import array

from . import dhcp6, router
from .frame import ICMPV6, UDP

_ETH_P_ALL, _ETH_P_ARP = 3, 0x0806
_ETH_P_EXPERIMENT = 0x88B5  # IEEE 802, for local experiments: no such frames are expected
_SO_ATTACH_FILTER, _SOL_PACKET, _PACKET_IGNORE_OUTGOING = 26, 263, 23
_QUEUE, _LONGEST = 1 << 16, 2048  # bytes
# Instructions of classic BPF (bpf(4)): load a word, half word or byte; jump if equal; return.
_LD, _LDH, _LDB, _JEQ, _RET = 0x20, 0x28, 0x30, 0x15, 0x06
_VLAN_TAG_PRESENT = 0xFFFFF030  # SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT
_PACKET_TYPE, _PACKET_OTHERHOST = 0xFFFFF004, 3  # SKF_AD_OFF + SKF_AD_PKTTYPE
_SOCK_FILTER = struct.Struct("=HBBI")
_ACCEPT, _DROP = -2, -1  # the last two instructions
Instruction = tuple[int, int, int, int]
_IS_DOWN = (errno.ENETDOWN, errno.ENXIO, errno.ENODEV)


class Link:
    """A device, and a packet socket on it.

    :param protocol: the EtherType to receive
    :param program: the BPF program that selects the frames, see :func:`assemble`
    :raises OSError: there is no such device, or raw sockets are not allowed here
    """

    def __init__(self, name: str, protocol: int, program: bytes) -> None:
        self._name, self._index = name, socket.if_nametoindex(name)
        # Protocol 0 receives nothing until the filter is attached.
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _QUEUE)
        self._socket.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        attach_filter(self._socket, program)
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

    def hear(self, program: bytes) -> None:
        """Replace the filter, and drop the waiting frames."""
        attach_filter(self._socket, program)
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
        try:
            return socket.if_nametoindex(self._name) == self._index
        except OSError:
            return False


def attach_filter(to: socket.socket, program: bytes) -> None:
    """Make the kernel drop the frames that the program rejects (socket(7))."""
    kept = array("B", program)
    address, length = kept.buffer_info()
    described = struct.pack("@HP", length // _SOCK_FILTER.size, address)  # struct sock_fprog
    to.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)


def tap(name: str, guest: bytes) -> Link:
    """Open a tap to receive the guest's frames.

    :param guest: the guest's MAC; other machines behind the tap get no answer
    """
    return Link(name, _ETH_P_ALL, packet_filter(guest))


def presence(name: str) -> Link:
    """Open a device only to notice its end."""
    return Link(name, _ETH_P_EXPERIMENT, assemble([(_RET, 0, 0, 0)]))


def bridge(name: str, program: bytes) -> Link:
    """Open a bridge to receive ARP.

    :param program: the BPF program that selects the frames, see :func:`claims`
    """
    return Link(name, _ETH_P_ARP, program)


def claims(address: bytes, mac: bytes, *, probes: bool = False) -> bytes:
    """Return a program for ARP in which another machine claims an address (RFC 5227 section 2.4).

    It drops VLAN frames. The kernel has removed their tag, and marks them as for another host.

    :param mac: the bridge's MAC
    :param probes: also match probes for the address (section 2.1.1); if the bridge has the address,
        the kernel answers these
    """
    high, low = (int.from_bytes(part, "big") for part in (mac[:4], mac[4:]))
    wanted = int.from_bytes(address, "big")
    claim = _require(_LD, 28, wanted)
    if probes:  # without a sender, and with the address as target
        claim = ((_LD, 28, 0, 0), (_JEQ, wanted, 3, 0), (_JEQ, 0, 0, _DROP))
        claim += _require(_LD, 38, wanted)
    program = [
        *((_LD, _PACKET_TYPE, 0, 0), (_JEQ, _PACKET_OTHERHOST, _DROP, 0)),
        *_require(_LD, 14, 0x00010800),  # Ethernet and IPv4
        *_require(_LDH, 18, 0x0604),  # the lengths of their addresses
        *claim,
        *((_LD, 22, 0, 0), (_JEQ, high, 0, _ACCEPT)),  # the sender's MAC
        *((_LDH, 26, 0, 0), (_JEQ, low, _DROP, _ACCEPT)),
    ]
    return assemble(program)


def packet_filter(guest: bytes) -> bytes:
    """Return a program for untagged frames from the guest to a router or a DHCPv6 server."""
    program = [
        *_require(_LD, _VLAN_TAG_PRESENT, 0),
        *_require(_LDH, 12, 0x86DD),  # EtherType
        *_require(_LD, 6, int.from_bytes(guest[:4], "big")),
        *_require(_LDH, 10, int.from_bytes(guest[4:], "big")),
        (_LDB, 20, 0, 0),  # next header
        (_JEQ, ICMPV6, 3, 0),
        *((_JEQ, UDP, 0, _DROP), (_LDH, 56, 0, 0)),  # destination port
        (_JEQ, dhcp6.SERVER_PORT, _ACCEPT, _DROP),
        (_LDB, 54, 0, 0),  # ICMPv6 type
        (_JEQ, router.SOLICITATION, _ACCEPT, 0),
        (_JEQ, router.NEIGHBOUR_SOLICITATION, _ACCEPT, _DROP),
    ]
    return assemble(program)


def assemble(program: list[Instruction]) -> bytes:
    """Return the BPF program as bytes; it drops what its instructions do not accept."""
    program = [*program, (_RET, _LONGEST, 0, 0), (_RET, 0, 0, 0)]
    return b"".join(
        _SOCK_FILTER.pack(code, *(_jump(to, at, len(program)) for to in (true, false)), operand)
        for at, (code, operand, true, false) in enumerate(program)
    )


def _require(load: int, offset: int, value: int) -> tuple[Instruction, ...]:
    return (load, offset, 0, 0), (_JEQ, value, 0, _DROP)


def _jump(to: int, at: int, length: int) -> int:
    """Return how many instructions to skip."""
    return length + to - at - 1 if to < 0 else to
