"""The frames that announce the guest's addresses."""

from __future__ import annotations

import logging
import os
from ipaddress import IPv4Address, IPv6Address

import pytest

from vmnet.net import announcement, packets

MAC = "02:42:ac:11:00:02"
OWN, OWN6 = IPv4Address("172.17.0.2"), IPv6Address("fd00::2")


def test_an_arp_announcement_has_the_address_as_sender_and_target() -> None:
    """RFC 5227 section 1.1."""
    (frame,) = announcement.frames(MAC, [OWN])
    assert frame[:14] == packets.BROADCAST + packets.mac_bytes(MAC) + b"\x08\x06"
    assert frame[20:22] == b"\0\1"  # a request
    assert frame[22:28] == packets.mac_bytes(MAC)
    assert frame[28:32] == frame[38:42] == OWN.packed


def test_a_neighbour_advertisement_is_unsolicited_and_overrides() -> None:
    """RFC 4861 sections 4.4 and 7.2.6."""
    (frame,) = announcement.frames(MAC, [OWN6])
    assert frame[:6] == bytes.fromhex("333300000001")
    assert frame[21] == 255  # the hop limit
    assert (frame[22:38], frame[38:54]) == (OWN6.packed, IPv6Address("ff02::1").packed)
    message = frame[54:]
    assert message[:2] == bytes((136, 0))
    assert message[4:8] == bytes.fromhex("20000000")
    assert message[8:] == OWN6.packed + b"\x02\x01" + packets.mac_bytes(MAC)
    zeroed = message[:2] + bytes(2) + message[4:]
    checked = packets.checksum(frame[22:38], frame[38:54], packets.ICMPV6, zeroed)
    assert message[2:4] == checked


def test_frames_go_to_the_tap_behind_a_virtio_header() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as received:
        announcement.announce("lo", writing, MAC, [OWN, OWN6])
        os.close(writing)
        sent = received.read()
    assert sent == b"".join(bytes(10) + frame for frame in announcement.frames(MAC, [OWN, OWN6]))


def test_a_failure_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    announcement.announce("lo", -1, MAC, [OWN])
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.message == "lo: can't announce the guest's addresses: Bad file descriptor"
