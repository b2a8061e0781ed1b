"""Which networks the engine's own nameserver knows this container on: two kinds of DNS queries.

Docker's answers ``db.NETWORK`` as it does ``db``, and its PTR record of an address of the container
ends in NETWORK. A library for DNS would be the largest dependency, for two messages: these are made
and read here (RFC 1035 section 4), and go to loopback alone.
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

_PORT, _SECONDS = 53, 1.0  # for all that is asked
_A, _PTR, _AAAA, _INTERNET = 1, 12, 28, 1
_HEAD = struct.Struct("!HHHHHH")
_RECURSION_DESIRED, _RESPONSE, _ERROR = 0x0100, 0x8000, 0x000F
_MOST_POINTERS = 16  # of a name; a loop has no end


@frozen
class Question:
    """A name and a record's type."""

    name: str
    kind: int


def networks(
    interfaces: Iterable[Interface], hostname: str, server: IPv4Address
) -> tuple[str, ...]:
    """The domain of each interface's network, in order; none where the nameserver knows none.

    A nameserver that does not answer in a second is left alone, and so is what it has not answered.

    :param hostname: the container's, whole
    """
    until = time.monotonic() + _SECONDS
    own: list[IPv4Interface | IPv6Interface] = []
    for interface in interfaces:
        own += (*interface.ipv4[:1], *interface.ipv6[:1])
    questions = [Question(address.ip.reverse_pointer, _PTR) for address in own]
    names = _ask(server, questions, until)
    found = []
    for address, question in zip(own, questions, strict=True):
        name = next(iter(names.get(question, ())), "")
        if name:
            found.append(_network(name, address, hostname, server, until))
    return tuple(dict.fromkeys(filter(is_domain, found)))


def _network(
    name: str,
    address: IPv4Interface | IPv6Interface,
    hostname: str,
    server: IPv4Address,
    until: float,
) -> str:
    """The network in a container's full name: both may have dots in them.

    A task of a Swarm always has. So the container's own host name, which Docker takes for an alias,
    is looked up on each network that the name could mean, from the shortest on.
    """
    ends = list(_ends(name))
    for end in ends if len(ends) > 1 else ():
        question = Question(f"{hostname}.{end}", _A if address.version == 4 else _AAAA)
        answer = _ask(server, [question], until).get(question, ())
        if str(address.ip) in answer:
            return end
    return next(iter(ends), "")


def _ends(name: str) -> Iterator[str]:
    """``d``, ``c.d`` and ``b.c.d`` of ``a.b.c.d``."""
    labels = name.split(".")
    for start in range(len(labels) - 1, 0, -1):
        yield ".".join(labels[start:])


def _ask(
    server: IPv4Address, questions: Sequence[Question], until: float
) -> dict[Question, tuple[str, ...]]:
    """The answers that arrive in time."""
    found: dict[Question, tuple[str, ...]] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        try:
            channel.connect((str(server), _PORT))
            for number, question in enumerate(questions):
                channel.send(query(number, question))
            while len(found) < len(questions) and (left := until - time.monotonic()) > 0:
                channel.settimeout(left)
                message = channel.recv(65535)
                number = int.from_bytes(message[:2], "big")
                if number < len(questions) and len(message) >= _HEAD.size:
                    found[questions[number]] = answers(message, questions[number])
        except OSError:  # nothing listens there, or nothing answers
            pass
    return found


def query(number: int, question: Question) -> bytes:
    """A message with one question."""
    labels = question.name.encode("ascii", "replace").split(b".")
    name = b"".join(bytes((len(label) & 0x3F,)) + label[:63] for label in labels) + b"\0"
    head = _HEAD.pack(number, _RECURSION_DESIRED, 1, 0, 0, 0)
    return head + name + struct.pack("!HH", question.kind, _INTERNET)


def answers(message: bytes, question: Question) -> tuple[str, ...]:
    """The names or addresses in a response; none where it is malformed or says that there are none.

    Whose they are is not looked at: a nameserver that says something else could as well lie.
    """
    _, flags, asked, count, *_ = _HEAD.unpack_from(message)
    if not flags & _RESPONSE or flags & _ERROR:
        return ()
    found = []
    try:
        place = _HEAD.size
        for _ in range(asked):
            place = _name(message, place)[1] + 4
        for _ in range(count):
            _, place = _name(message, place)
            kind, _, _, length = struct.unpack_from("!HHIH", message, place)
            place += 10
            if kind == question.kind and place + length <= len(message):
                found.append(_value(message, place, length, kind))
            place += length
    except (ValueError, IndexError, struct.error):
        return ()
    return tuple(found)


def _value(message: bytes, place: int, length: int, kind: int) -> str:
    if kind == _PTR:
        return _name(message, place)[0]
    packed = message[place : place + length]
    return str(IPv4Address(packed) if kind == _A else IPv6Address(packed))


def _name(message: bytes, place: int) -> tuple[str, int]:
    """A name (section 4.1.4), and where it ends.

    :raises ValueError: it has no end, or is not ASCII
    :raises IndexError: it is cut short
    """
    labels: list[str] = []
    end = 0
    for _ in range(_MOST_POINTERS):
        while 0 < message[place] < 0x40:
            labels.append(message[place + 1 : place + 1 + message[place]].decode("ascii"))
            place += 1 + message[place]
        if message[place] == 0:
            return ".".join(labels), end or place + 1
        end = end or place + 2
        place = (message[place] & 0x3F) << 8 | message[place + 1]
    raise ValueError("a name without an end")
