"""Request a DHCP offer without a client, and return the bytes of its options."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Sequence
from ipaddress import IPv4Address

from ..net.namespace import Namespace
from ..wait import WAIT, TimedOutError

ASKED = (1, 3, 6, 12, 15, 26, 28, 42, 119, 121, 249)
_COOKIE = b"\x63\x82\x53\x63"
_SNAME, _FILE, _OPTIONS = slice(44, 108), slice(108, 236), slice(240, None)
_OVERLOAD, _END = 52, 255


def offer(
    where: Namespace,
    mac: str,
    *,
    largest: int | None = None,
    asked: Sequence[int] = ASKED,
    timeout: float = WAIT,
) -> dict[int, bytes]:
    """Return the options of a server's offer, by number. Number 0 is the offered address.

    :param largest: bytes of the largest message that the client accepts (option 57). Without the
        option, servers assume 576.
    """
    frame = _discover(bytes.fromhex(mac.replace(":", "")), largest, asked)
    with where.entered(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0x0008) as card:
        card.bind(("eth0", 0x0800))
        card.settimeout(0.1)
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            card.send(frame)
            try:
                while True:
                    if options := _offered(card.recv(65536)):
                        return options
            except TimeoutError:
                pass
    raise TimedOutError(f"timed out after {timeout:g} s waiting for an offer to {mac}")


def _discover(mac: bytes, largest: int | None, asked: Sequence[int]) -> bytes:
    options = _COOKIE + bytes((53, 1, 1, 55, len(asked), *asked))
    if largest is not None:
        options += struct.pack("!BBH", 57, 2, largest)
    head = struct.pack("!BBBBIHH", 1, 1, 6, 0, 0x12345678, 0, 0x8000) + bytes(16)
    message = head + mac.ljust(16, b"\0") + bytes(192) + options + b"\xff"
    datagram = struct.pack("!HHHH", 68, 67, 8 + len(message), 0) + message
    ends = bytes(4) + b"\xff" * 4
    size = 20 + len(datagram)
    total = sum(struct.unpack("!10H", struct.pack("!BxHxxxxBBxx", 0x45, size, 64, 17) + ends))
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    packet = struct.pack("!BxHxxxxBBH", 0x45, size, 64, 17, checksum) + ends + datagram
    return b"\xff" * 6 + mac + b"\x08\x00" + packet


def _offered(frame: bytes) -> dict[int, bytes]:
    """Return the options of an offer, or an empty dictionary for any other frame."""
    packet = frame[14:]
    if packet[9:10] != b"\x11" or packet[20:22] != b"\0\x43" or packet[28:29] != b"\2":
        return {}
    message = packet[28:]
    options = _options(message[_OPTIONS])
    overload = options.pop(_OVERLOAD, b"\0")[0]
    if overload & 1:
        options |= _options(message[_FILE])
    if overload & 2:
        options |= _options(message[_SNAME])
    return options | {0: IPv4Address(message[16:20]).packed}


def _options(data: bytes) -> dict[int, bytes]:
    options = {}
    while data and data[0] != _END:
        if data[0]:
            options[data[0]] = data[2 : 2 + data[1]]
        data = data[2 + data[1] :] if data[0] else data[1:]
    return options


def names(data: bytes) -> list[str]:
    """Return the domains in option 119 (RFC 3397, RFC 1035 section 4.1.4)."""
    domains, offset = [], 0
    while offset < len(data):
        domain, offset = _name(data, offset)
        domains.append(domain)
    return domains


def _name(data: bytes, offset: int) -> tuple[str, int]:
    labels: list[str] = []
    while data[offset]:
        if data[offset] >= 0xC0:
            suffix, _ = _name(data, (data[offset] & 0x3F) << 8 | data[offset + 1])
            return ".".join([*labels, suffix]), offset + 2
        labels.append(data[offset + 1 : offset + 1 + data[offset]].decode())
        offset += 1 + data[offset]
    return ".".join(labels), offset + 1
