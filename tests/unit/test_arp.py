"""The bytes of ARP probes, and the frames that count as claims."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from ipaddress import IPv4Address

import pytest

from vmnet.net import arp, packet_socket

OWN, OTHER = bytes.fromhex("06895766d515"), bytes.fromhex("0242ac110003")
SPARE = IPv4Address("172.17.255.254")
UNSET = IPv4Address(0)
REQUEST, REPLY = 1, 2


@pytest.fixture
def link() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The two ends of a link: vmnet's and the network's."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        yield ours, theirs


def frame(operation: int, sender: bytes, address: IPv4Address, target: IPv4Address) -> bytes:
    ethernet = b"\xff" * 6 + sender + struct.pack("!H", 0x0806)
    arp_header = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation)
    return ethernet + arp_header + sender + address.packed + bytes(6) + target.packed


def claims(link: tuple[socket.socket, socket.socket], *frames: bytes) -> set[IPv4Address]:
    """Return what the frames claim, which arrive in time but are read after the deadline."""
    ours, theirs = link
    for sent in frames:
        theirs.send(sent)
    return set(arp._claims(ours, OWN, time.monotonic()))


def test_a_probe_has_no_sender_address() -> None:
    """RFC 5227 section 2.1.1: otherwise hosts would learn a wrong address."""
    assert arp._probe(OWN, SPARE) == frame(REQUEST, OWN, UNSET, SPARE)


def test_silence_means_free(link: tuple[socket.socket, socket.socket]) -> None:
    assert claims(link) == set()


def test_a_reply_claims_its_sender(link: tuple[socket.socket, socket.socket]) -> None:
    assert claims(link, frame(REPLY, OTHER, SPARE, UNSET)) == {SPARE}


def test_another_machines_probe_claims_its_target(
    link: tuple[socket.socket, socket.socket],
) -> None:
    assert claims(link, frame(REQUEST, OTHER, UNSET, SPARE)) == {SPARE}


def test_a_request_claims_its_sender(link: tuple[socket.socket, socket.socket]) -> None:
    sender = IPv4Address("172.17.0.9")
    assert claims(link, frame(REQUEST, OTHER, sender, SPARE)) == {sender}


def test_our_own_probe_is_no_claim(link: tuple[socket.socket, socket.socket]) -> None:
    assert claims(link, frame(REQUEST, OWN, UNSET, SPARE)) == set()


@pytest.mark.parametrize("length", [0, 14, 41])
def test_a_short_frame_is_ignored(length: int, link: tuple[socket.socket, socket.socket]) -> None:
    reply = frame(REPLY, OTHER, SPARE, UNSET)
    assert claims(link, reply[:length], reply) == {SPARE}


def test_a_flood_does_not_extend_the_wait(link: tuple[socket.socket, socket.socket]) -> None:
    """A frame arrives whenever another is read."""
    ours, theirs = link
    claim = frame(REPLY, OTHER, SPARE, UNSET)
    theirs.send(claim)
    claims = arp._claims(ours, OWN, time.monotonic())
    assert len([theirs.send(claim) for _ in claims]) == packet_socket._MAX_LATE
