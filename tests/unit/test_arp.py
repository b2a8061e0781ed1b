"""ARP probes, byte for byte, and what counts as an answer."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest

from vmnet.net import arp

OWN, OTHER = bytes.fromhex("06895766d515"), bytes.fromhex("0242ac110003")
SPARE = IPv4Address("172.17.255.254")
NOBODY = IPv4Address(0)
REQUEST, REPLY = 1, 2


@pytest.fixture
def link() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Our end of a link, and everybody else's."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        yield ours, theirs


def frame(operation: int, sender: bytes, address: IPv4Address, target: IPv4Address) -> bytes:
    ethernet = b"\xff" * 6 + sender + struct.pack("!H", 0x0806)
    arp_header = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation)
    return ethernet + arp_header + sender + address.packed + bytes(6) + target.packed


def heard(link: tuple[socket.socket, socket.socket], *frames: bytes) -> set[IPv4Address]:
    ours, theirs = link
    for one in frames:
        theirs.send(one)
    return set(arp._heard(ours, OWN, time.monotonic() + 0.05))


def test_a_probe_has_no_sender_address_so_that_nobody_learns_a_wrong_one() -> None:
    """RFC 5227 section 2.1.1."""
    assert arp._probe(OWN, SPARE) == frame(REQUEST, OWN, NOBODY, SPARE)


def test_silence_means_free(link: tuple[socket.socket, socket.socket]) -> None:
    assert heard(link) == set()


def test_a_reply_tells_who_holds_the_address(link: tuple[socket.socket, socket.socket]) -> None:
    assert heard(link, frame(REPLY, OTHER, SPARE, NOBODY)) == {SPARE}


def test_a_probe_of_another_for_the_same_address(link: tuple[socket.socket, socket.socket]) -> None:
    assert heard(link, frame(REQUEST, OTHER, NOBODY, SPARE)) == {SPARE}


def test_a_question_tells_of_the_one_who_asks(link: tuple[socket.socket, socket.socket]) -> None:
    asker = IPv4Address("172.17.0.9")
    assert heard(link, frame(REQUEST, OTHER, asker, SPARE)) == {asker}


def test_our_own_probe_is_no_answer(link: tuple[socket.socket, socket.socket]) -> None:
    assert heard(link, frame(REQUEST, OWN, NOBODY, SPARE)) == set()


@pytest.mark.parametrize("length", [0, 14, 41])
def test_a_short_frame_is_passed_over(
    length: int, link: tuple[socket.socket, socket.socket]
) -> None:
    reply = frame(REPLY, OTHER, SPARE, NOBODY)
    assert heard(link, reply[:length], reply) == {SPARE}


def test_a_chatty_link_does_not_keep_us(link: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = link
    theirs.setblocking(False)
    started = time.monotonic()
    for _ in range(100):
        theirs.send(frame(REPLY, OTHER, SPARE, NOBODY))
    assert list(arp._heard(ours, OWN, started + 0.05))
    assert time.monotonic() - started < 1
