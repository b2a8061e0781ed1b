"""The names of the container's networks, from the engine's nameserver."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lab.wait import WAIT
from vmnet.model.identity import Interface, Resolver
from vmnet.net import dns
from vmnet.net.dns import Question, answers, networks, query
from vmnet.net.resolver import DOCKER, with_networks
from vmnet.testing import interface, resolver

PTR, A, AAAA = 12, 1, 28
SOME = Question("2.0.18.172.in-addr.arpa", PTR)


def encoded(name: str) -> bytes:
    labels = name.split(".")
    return b"".join(bytes((len(label),)) + label.encode() for label in labels) + b"\0"


def response(
    question: bytes, kind: int, values: list[bytes], flags: int = 0x8180, extra: bytes = b""
) -> bytes:
    """Encode a response to a query; the name of each record is a pointer to the question."""
    records = b"".join(
        b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 600, len(value)) + value for value in values
    )
    head = question[:2] + struct.pack("!HHHHH", flags, 1, len(values), 0, 0)
    return head + question[12:] + records + extra


def test_a_query_is_encoded_as_in_rfc_1035() -> None:
    sent = query(7, Question("db.lab", A))
    assert sent.hex() == "000701000001000000000000" + "02646203" + "6c616200" + "00010001"


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (PTR, encoded("web.lab"), "web.lab"),
        (PTR, b"\x03web\xc0\x0e", "web.18.172.in-addr.arpa"),  # ends with a pointer to the question
        (A, bytes((172, 18, 0, 2)), "172.18.0.2"),
        (AAAA, bytes.fromhex("fd" + "00" * 14 + "02"), "fd00::2"),
    ],
)
def test_an_answer(kind: int, value: bytes, text: str) -> None:
    question = Question("2.0.18.172.in-addr.arpa", kind)
    sent = query(0, question)
    assert (
        answers(response(sent, kind, [value, value]), question)
        == (text.replace("18.172", "0.18.172") if value[-1:] == b"\x0e" else text,) * 2
    )


@pytest.mark.parametrize(
    "message",
    [
        response(query(0, SOME), PTR, [encoded("web.lab")], flags=0x8183),  # NXDOMAIN
        response(query(0, SOME), PTR, [encoded("web.lab")], flags=0x0180),  # a query
        response(query(0, SOME), A, [bytes(4)]),
        response(query(0, SOME), PTR, [encoded("web.lab")])[:-3],
        response(query(0, SOME), PTR, [struct.pack("!H", 0xC000 | len(query(0, SOME)) + 12)]),
        query(0, SOME)[:2] + b"\x81\x80" + b"\0\0\xff\xff\0\0\0\0" + b"\xc0\x0c" * 20,  # a loop
    ],
)
def test_no_answer(message: bytes) -> None:
    assert answers(message, SOME) == ()


@given(st.binary(min_size=12, max_size=80), st.sampled_from((PTR, A, AAAA)))
def test_any_message_can_be_read(message: bytes, kind: int) -> None:
    for flags in (message[2:4], b"\x81\x80"):
        answers(message[:2] + flags + message[4:], Question("a", kind))


# -- with a test nameserver on loopback


@contextmanager
def nameserver(
    monkeypatch: pytest.MonkeyPatch, records: Mapping[str, list[bytes]], asked: list[str]
) -> Iterator[None]:
    """Answer queries from ``records``, and append the queried names to ``asked``."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            message, peer = server.recvfrom(4096)
            if not message:
                return
            name, offset = dns._name(message, 12)
            asked.append(name)
            (kind,) = struct.unpack_from("!H", message, offset)
            values = records.get(name, [])
            server.sendto(response(message, kind, values, 0x8180 if values else 0x8183), peer)

    monkeypatch.setattr(dns, "_PORT", server.getsockname()[1])
    monkeypatch.setattr(dns, "_SECONDS", WAIT)
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
            end.sendto(b"", server.getsockname())
        thread.join()
        server.close()


LOOPBACK = IPv4Address("127.0.0.1")
ETH0 = interface("172.18.0.2/16", "fd00::2/64")
ETH1 = interface("172.19.0.2/16", name="eth1")


def pointer(nic: Interface, number: int = 0) -> str:
    return nic.addresses[number].ip.reverse_pointer


def test_the_networks_are_in_the_order_of_the_interfaces(monkeypatch: pytest.MonkeyPatch) -> None:
    records = {
        pointer(ETH1): [encoded("web.back")],
        pointer(ETH0): [encoded("web.project_default")],
        pointer(ETH0, 1): [encoded("web.project_default")],
    }
    with nameserver(monkeypatch, records, []):
        assert networks((ETH0, ETH1), "web", LOOPBACK) == ("project_default", "back")


def test_an_interface_with_ipv6_only(monkeypatch: pytest.MonkeyPatch) -> None:
    nic = interface("fd00::2/64")
    with nameserver(monkeypatch, {pointer(nic): [encoded("web.six")]}, []):
        assert networks((nic,), "web", LOOPBACK) == ("six",)


@pytest.mark.parametrize(
    ("name", "aliases", "network", "asks"),
    [
        ("web.lab", (), "lab", []),
        ("a.b.lab", ("web.lab",), "lab", ["web.lab"]),
        ("svc.1.k2j.ov", (), "ov", ["web.ov", "web.k2j.ov", "web.1.k2j.ov"]),
        ("www.my.lan", ("web.my.lan",), "my.lan", ["web.lan", "web.my.lan"]),
        ("web", (), "", []),
        ("web.-odd", (), "", []),
        ("web.a b", (), "", []),
    ],
)
def test_container_and_network_names_may_contain_dots(
    name: str,
    aliases: tuple[str, ...],
    network: str,
    asks: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    own = ETH0.ipv4[0].ip.packed
    records = {pointer(ETH0): [encoded(name)], **{alias: [own] for alias in aliases}}
    with nameserver(monkeypatch, records, asked):
        found = networks((interface("172.18.0.2/16"),), "web", LOOPBACK)
    assert found == ((network,) if network else ())
    assert asked[1:] == asks


def test_a_silent_nameserver_reports_no_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns, "_SECONDS", 0.05)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        monkeypatch.setattr(dns, "_PORT", silent.getsockname()[1])
        assert networks((ETH0,), "web", LOOPBACK) == ()


@pytest.mark.parametrize(
    ("options", "search"),
    [
        (("ndots:0",), ("lab", "corp.example")),
        (("ndots:2",), ("corp.example", "lab")),
    ],
)
def test_the_order_of_the_networks_and_the_configured_domains(
    options: tuple[str, ...], search: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dns, "networks", lambda *_: ("lab",))
    configured = resolver(str(DOCKER), search=("corp.example",), options=options)
    found = with_networks(configured, (ETH0,), "web")
    assert (found.search, found.networks) == (search, ("lab",))
    known = with_networks(resolver(str(DOCKER), search=("lab",)), (ETH0,), "web")
    assert (known.search, known.networks) == (("lab",), ())


def test_another_nameserver_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns, "networks", None)
    for configured in (Resolver(), resolver("192.0.2.1", "127.0.0.53")):
        assert with_networks(configured, (ETH0,), "web") == configured
