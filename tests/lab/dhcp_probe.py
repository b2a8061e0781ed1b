"""DHCP without a client in between: an offer's options, byte for byte."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Sequence
from ipaddress import IPv4Address

from .namespace import Namespace
from .wait import TimedOutError

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
    timeout: float = 10,
) -> dict[int, bytes]:
    """What a server offers a client that asks, by the option's number.

    :param largest: bytes of the largest message that the client takes; it says none unless given,
        which means 576
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
                    if found := _offered(card.recv(65536)):
                        return found
            except TimeoutError:
                pass
    raise TimedOutError(f"waited {timeout:g} s for an offer to {mac}, in vain")


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
    """The options of an offer; none if the frame is another one."""
    packet = frame[14:]
    if packet[9:10] != b"\x11" or packet[20:22] != b"\0\x43" or packet[28:29] != b"\2":
        return {}
    message = packet[28:]
    found = _options(message[_OPTIONS])
    overload = found.pop(_OVERLOAD, b"\0")[0]
    if overload & 1:
        found |= _options(message[_FILE])
    if overload & 2:
        found |= _options(message[_SNAME])
    return found | {0: IPv4Address(message[16:20]).packed}


def _options(data: bytes) -> dict[int, bytes]:
    found = {}
    while data and data[0] != _END:
        if data[0]:
            found[data[0]] = data[2 : 2 + data[1]]
        data = data[2 + data[1] :] if data[0] else data[1:]
    return found


def names(data: bytes) -> list[str]:
    """The domains of option 119, as RFC 3397 and RFC 1035 section 4.1.4 write them."""
    found, place = [], 0
    while place < len(data):
        name, place = _name(data, place)
        found.append(name)
    return found


def _name(data: bytes, place: int) -> tuple[str, int]:
    labels: list[str] = []
    while data[place]:
        if data[place] >= 0xC0:
            end, _ = _name(data, (data[place] & 0x3F) << 8 | data[place + 1])
            return ".".join([*labels, end]), place + 2
        labels.append(data[place + 1 : place + 1 + data[place]].decode())
        place += 1 + data[place]
    return ".".join(labels), place + 1
