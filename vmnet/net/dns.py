"""Ask Docker's nameserver for the names of this container's networks.

The nameserver answers ``db.NETWORK`` like ``db``, and its PTR records of the container's addresses
end in NETWORK. A DNS library would be the largest dependency, so this module encodes and decodes
the two kinds of messages (RFC 1035 section 4). They go only to loopback.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface

from vmnet.model.base import frozen
from vmnet.model.identity import Interface
from vmnet.model.names import is_domain

_PORT, _SECONDS = 53, 1.0  # the limit for all queries together
_A, _PTR, _AAAA, _INTERNET = 1, 12, 28, 1
_HEAD = struct.Struct("!HHHHHH")
_RECURSION_DESIRED, _RESPONSE, _ERROR = 0x0100, 0x8000, 0x000F
_MAX_POINTERS = 16  # in one name: pointers can form a loop


@frozen
class Question:
    """A name and the type of the record to look up."""

    name: str
    kind: int


def networks(
    interfaces: Iterable[Interface], hostname: str, server: IPv4Address
) -> tuple[str, ...]:
    """Return the domains of the interfaces' networks, in order, without duplicates.

    Queries that the nameserver does not answer within a second contribute no domain.

    :param hostname: the container's full host name
    """
    deadline = time.monotonic() + _SECONDS
    own: list[IPv4Interface | IPv6Interface] = []
    for interface in interfaces:
        own += (*interface.ipv4[:1], *interface.ipv6[:1])
    questions = [Question(address.ip.reverse_pointer, _PTR) for address in own]
    names = _ask(server, questions, deadline)
    found = []
    for address, question in zip(own, questions, strict=True):
        name = next(iter(names.get(question, ())), "")
        if name:
            found.append(_network(name, address, hostname, server, deadline))
    return tuple(dict.fromkeys(filter(is_domain, found)))


def _network(
    name: str,
    address: IPv4Interface | IPv6Interface,
    hostname: str,
    server: IPv4Address,
    deadline: float,
) -> str:
    """Return the network in the PTR name ``CONTAINER.NETWORK`` of an address.

    Both parts can contain dots; the name of a Swarm task always does. Docker treats the container's
    host name as an alias, so this function looks it up on each possible network, shortest first.
    """
    candidates = list(_suffixes(name))
    for network in candidates if len(candidates) > 1 else ():
        question = Question(f"{hostname}.{network}", _A if address.version == 4 else _AAAA)
        answer = _ask(server, [question], deadline).get(question, ())
        if str(address.ip) in answer:
            return network
    return next(iter(candidates), "")


def _suffixes(name: str) -> Iterator[str]:
    """Yield ``d``, ``c.d`` and ``b.c.d`` for ``a.b.c.d``."""
    labels = name.split(".")
    for start in range(len(labels) - 1, 0, -1):
        yield ".".join(labels[start:])


def _ask(
    server: IPv4Address, questions: Sequence[Question], deadline: float
) -> dict[Question, tuple[str, ...]]:
    """Return the answers that arrive before the deadline."""
    found: dict[Question, tuple[str, ...]] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        try:
            channel.connect((str(server), _PORT))
            for number, question in enumerate(questions):
                channel.send(query(number, question))
            while len(found) < len(questions) and (left := deadline - time.monotonic()) > 0:
                channel.settimeout(left)
                message = channel.recv(65535)
                number = int.from_bytes(message[:2], "big")
                if number < len(questions) and len(message) >= _HEAD.size:
                    found[questions[number]] = answers(message, questions[number])
        except OSError:  # no nameserver listens, or it does not answer in time
            pass
    return found


def query(number: int, question: Question) -> bytes:
    """Encode a query with a single question."""
    labels = question.name.encode("ascii", "replace").split(b".")
    name = b"".join(bytes((len(label) & 0x3F,)) + label[:63] for label in labels) + b"\0"
    head = _HEAD.pack(number, _RECURSION_DESIRED, 1, 0, 0, 0)
    return head + name + struct.pack("!HH", question.kind, _INTERNET)


def answers(message: bytes, question: Question) -> tuple[str, ...]:
    """Decode the names or addresses in a response; empty if it is malformed or negative.

    The owner names of the records are not checked: the nameserver is trusted anyway.
    """
    _, flags, asked, count, *_ = _HEAD.unpack_from(message)
    if not flags & _RESPONSE or flags & _ERROR:
        return ()
    found = []
    try:
        offset = _HEAD.size
        for _ in range(asked):
            offset = _name(message, offset)[1] + 4
        for _ in range(count):
            _, offset = _name(message, offset)
            kind, _, _, length = struct.unpack_from("!HHIH", message, offset)
            offset += 10
            if kind == question.kind and offset + length <= len(message):
                found.append(_value(message, offset, length, kind))
            offset += length
    except (ValueError, IndexError, struct.error):
        return ()
    return tuple(found)


def _value(message: bytes, offset: int, length: int, kind: int) -> str:
    if kind == _PTR:
        return _name(message, offset)[0]
    packed = message[offset : offset + length]
    return str(IPv4Address(packed) if kind == _A else IPv6Address(packed))


def _name(message: bytes, offset: int) -> tuple[str, int]:
    """Decode a compressed name (section 4.1.4); return it and the offset of its end.

    :raises ValueError: the name has too many pointers, or is not ASCII
    :raises IndexError: the message ends within the name
    """
    labels: list[str] = []
    end = 0
    for _ in range(_MAX_POINTERS):
        while 0 < message[offset] < 0x40:
            labels.append(message[offset + 1 : offset + 1 + message[offset]].decode("ascii"))
            offset += 1 + message[offset]
        if message[offset] == 0:
            return ".".join(labels), end or offset + 1
        end = end or offset + 2
        offset = (message[offset] & 0x3F) << 8 | message[offset + 1]
    raise ValueError("the name has too many pointers")
