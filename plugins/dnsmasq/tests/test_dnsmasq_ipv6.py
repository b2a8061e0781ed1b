"""The responder's IPv6: its configuration, and its messages byte by byte."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv6Address, IPv6Network, ip_address
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from vmnet_dnsmasq import ipv6_gaps
from vmnet_dnsmasq.config import Service, serves_dns
from vmnet_dnsmasq.ipv6 import Ipv6Nic, nics
from vmnet_dnsmasq.responder import dhcp6, frame, link, router, wire
from vmnet_dnsmasq.rows import ROWS
from vmnet_dnsmasq.service import deliver

from vmnet import testing
from vmnet.api import Host, Interface, Router, is_domain, packet_socket, packets
from vmnet.testing import interface, resolver, route

GATEWAY, ROUTER = IPv6Address("fd00::1"), IPv6Address("fe80::1")
GUEST, SERVER = bytes.fromhex("024200000002"), bytes.fromhex("060000000001")
CLIENT = bytes.fromhex("00030001") + GUEST
OWN = bytes.fromhex("00030001") + SERVER
ADDRESS, OTHER = IPv6Address("fd00::2").packed, IPv6Address("fd00::99").packed
NIC = Ipv6Nic(
    tap="tap0",
    guest=GUEST.hex(":"),
    server=SERVER.hex(":"),
    router=str(ROUTER),
    stand_in="",
    default=True,
    preferred=True,
    mtu=1500,
    on_link=("fd00::/64",),
    routes=(),
    addresses=("fd00::2",),
    nameservers=("2001:db8::53",),
    search=("example.org",),
    ntp=("2001:db8::123",),
    name="web.example.org",
)


def nic_of(interface: Interface, **changes: Any) -> Ipv6Nic:
    identity = testing.identity(interface, **changes)
    (nic,) = nics(identity, testing.wiring(identity))
    return nic


def dual_stack(**changes: Any) -> Interface:
    """Return an interface on a Docker network with IPv4 and IPv6."""
    made = interface("172.18.0.2/16", "fd00::2/64", gateway="172.18.0.1")
    routes = (*made.routes, route("::/0", "fd00::1", metric=1024))
    return evolve(made, routes=routes, router=Router(GATEWAY, ROUTER), **changes)


# -- configuration


def test_a_docker_network() -> None:
    made = nic_of(
        dual_stack(), resolver=resolver("192.0.2.1", "2001:db8::53"), domain="example.org"
    )
    assert (made.tap, made.guest) == ("tap0", dual_stack().mac)
    assert (made.router, made.stand_in) == ("fe80::1", "")
    assert (made.default, made.preferred) == (True, True)
    assert (made.addresses, made.on_link, made.routes) == (("fd00::2",), ("fd00::/64",), ())
    assert (made.nameservers, made.name) == (("2001:db8::53",), "web.example.org")


def test_ipv4_only_needs_no_responder() -> None:
    identity = testing.identity()
    delivery = deliver(testing.settings({}, *ROWS), identity, testing.wiring(identity))
    assert [daemon.name for daemon in delivery.daemons] == ["dnsmasq"]


def test_ipv6_only_needs_no_dnsmasq(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    identity = testing.identity(interface("fd00::2/64"), hosts=(Host(GATEWAY, ("db",)),))
    assert not serves_dns(identity)
    delivery = deliver(testing.settings({}, *ROWS), identity, testing.wiring(identity))
    (daemon,), (file,) = delivery.daemons, delivery.files
    assert daemon.argv[-1] == str(file.path)
    assert json.loads(file.content)["nics"][0]["addresses"] == ["fd00::2"]
    assert any("names from /etc/hosts (db)" in line for line in delivery.not_carried)


def test_a_default_route_lowers_the_mtu() -> None:
    default = route("::/0", "fd00::1", mtu=1400)
    nic = interface("fd00::2/64", routes=(default,), router=Router(GATEWAY, ROUTER))
    assert nic_of(nic).mtu == 1400


def test_without_containment_nothing_is_answered() -> None:
    identity = testing.identity(dual_stack())
    delivery = deliver(
        testing.settings({}, *ROWS), identity, testing.wiring(identity, contain=False)
    )
    assert delivery.daemons == ()


def test_a_router_without_a_link_local_address_gets_a_stand_in() -> None:
    made = nic_of(evolve(dual_stack(), router=Router(GATEWAY, None, "02:42:00:00:00:01")))
    assert (made.router, made.stand_in) == ("fe80::42:ff:fe00:1", "02:42:00:00:00:01")
    assert made.default


@pytest.mark.parametrize("unknown", [None, Router(GATEWAY)])
def test_without_a_router_the_bridge_advertises_no_router(unknown: Router | None) -> None:
    nic = evolve(dual_stack(), router=unknown)
    made = nic_of(nic)
    assert IPv6Address(made.router).packed == packets.link_local(packets.mac_bytes(made.server))
    assert (made.default, made.routes) == (False, ())
    lines = ipv6_gaps.gaps(testing.identity(nic))
    assert any(line.startswith("route to ::/0 via fd00::1") for line in lines)


@pytest.mark.parametrize(
    ("can_ask", "reason"), [(True, "its gateway does not answer"), (False, "vmnet cannot ask")]
)
def test_a_router_that_could_not_be_asked_is_not_called_silent(can_ask: bool, reason: str) -> None:
    nic = evolve(dual_stack(), router=Router(GATEWAY))
    lines = list(ipv6_gaps.gaps(testing.identity(nic), can_ask_routers=can_ask))
    assert lines[0].startswith(f"route to ::/0 via fd00::1 of eth0: {reason}")


def test_routes_and_prefixes() -> None:
    more = (
        route("fd00:1::/64", "fd00::1"),
        route("fd00:2::/64"),
        route("fd00:3::/64", "fd00::3"),
        route("fd00::5/128"),
    )
    nic = evolve(dual_stack(), routes=(*dual_stack().routes, *more))
    made = nic_of(nic)
    assert made.on_link == ("fd00::/64", "fd00:2::/64", "fd00::5/128")
    assert made.routes == ("fd00:1::/64",)
    (line,) = ipv6_gaps.gaps(testing.identity(nic))
    assert line.startswith("route to fd00:3::/64 via fd00::3 of eth0: ")


def test_a_host_address_makes_no_neighbours() -> None:
    assert nic_of(interface("fd00::2/128")).on_link == ()


def test_a_prefix_that_is_not_on_the_link_is_behind_the_router() -> None:
    """CNI's ptp: the gateway is the only neighbour in the address's subnet."""
    subnet = IPv6Network("fd00::/64")
    more = (route(str(subnet), str(GATEWAY)), route(f"{GATEWAY}/128"))
    nic = evolve(dual_stack(), routes=(*dual_stack().routes, *more), off_link=(subnet,))
    made = nic_of(nic)
    assert (made.on_link, made.routes) == ((f"{GATEWAY}/128",), (str(subnet),))
    assert made.default
    assert list(ipv6_gaps.gaps(testing.identity(nic))) == []


def test_the_best_of_several_default_routers_is_preferred() -> None:
    second = interface("fd00:2::2/64", name="eth1", mac="02:42:00:00:00:22")
    second = evolve(
        second,
        routes=(route("::/0", "fd00:2::1", metric=10),),
        router=Router(IPv6Address("fd00:2::1"), ROUTER),
    )
    identity = testing.identity(dual_stack(), second)
    made = nics(identity, testing.wiring(identity))
    assert [(nic.default, nic.preferred) for nic in made] == [(True, False), (True, True)]


def test_a_guest_that_asks_the_forwarder_gets_no_other_nameserver() -> None:
    identity = testing.identity(dual_stack(), resolver=resolver("127.0.0.11", "2001:db8::53"))
    wiring = testing.wiring(identity, nameserver="172.18.255.254/16")
    assert nics(identity, wiring)[0].nameservers == ()
    service = Service.of(identity, wiring)
    assert service.upstream == ("127.0.0.11",)
    assert any(line.startswith("nameserver 2001:db8::53: ") for line in service.not_carried)


def test_no_forwarder_if_it_could_not_reach_a_nameserver() -> None:
    links = (Host(ip_address("172.18.0.3"), ("db",)),)
    assert serves_dns(testing.identity(dual_stack(), hosts=links))
    assert not serves_dns(
        testing.identity(dual_stack(), hosts=links, resolver=resolver("2001:db8::53"))
    )


def test_the_guest_gets_no_loopback_nameserver() -> None:
    made = nic_of(interface("fd00::2/64"), resolver=resolver("::1", "127.0.0.11"))
    assert made.nameservers == ()


@pytest.mark.parametrize(
    ("hostname", "domain", "name"),
    [
        ("web", "", "web"),
        ("web", "example.org", "web.example.org"),
        ("web", "not a domain", "web"),
        ("not a name", "example.org", ""),
    ],
)
def test_the_name_is_valid(hostname: str, domain: str, name: str) -> None:
    assert nic_of(interface("fd00::2/64"), hostname=hostname, domain=domain).name == name


# -- frames


@given(st.binary(max_size=200))
def test_checksums_are_correct(data: bytes) -> None:
    made = frame.udp(GUEST + SERVER, ROUTER.packed, ADDRESS, (547, 546), data)
    packet = frame.read(made)
    assert packet is not None
    assert (packet.mac, packet.source, packet.destination) == (SERVER, ROUTER.packed, ADDRESS)
    assert packet.payload[8:] == data
    # The checksum of data that includes its checksum is zero (RFC 1071).
    assert not any(packets.checksum(packet.source, packet.destination, 17, packet.payload))


@given(st.binary(max_size=300))
def test_any_frame_can_be_read(data: bytes) -> None:
    packet = frame.read(data)
    assert packet is None or len(packet.payload) <= len(data)


# -- router


def test_a_router_advertisement() -> None:
    (message,) = router.advertisements(evolve(NIC, routes=("fd00:1::/48",)))
    assert message[:16].hex() == "8600000040c02328" + "0" * 16  # limit 64; M, O; 9000 s
    assert [option.hex() for option in _units(message)] == [
        "05010000000005dc",  # MTU 1500
        "03044080" + "f" * 16 + "0" * 8 + _hex("fd00::"),  # on-link and not autonomous
        "1803300000002328" + _hex("fd00:1::"),
        "1903000000002328" + _hex("2001:db8::53"),
        "1f03000000002328" + b"\x07example\x03org\0\0\0\0".hex(),
    ]


def test_a_router_that_is_no_default_router() -> None:
    (message,) = router.advertisements(evolve(NIC, default=False, preferred=False))
    assert message[5:8].hex() == "c00000"


def test_a_second_default_router_is_less_preferred() -> None:
    (message,) = router.advertisements(evolve(NIC, preferred=False))
    assert message[5:8].hex() == "d82328"


@given(
    st.lists(st.ip_addresses(v=6).map(lambda address: f"{address}/128"), max_size=150),
    st.lists(st.ip_addresses(v=6).map(str), max_size=100),
)
def test_each_advertisement_fits_any_link(prefixes: list[str], servers: list[str]) -> None:
    nic = evolve(NIC, on_link=tuple(prefixes), nameservers=tuple(servers))
    messages = router.advertisements(nic)
    assert all(len(message) <= 1240 for message in messages)
    options = [option for message in messages for option in _units(message)]
    assert [option[0] for option in options] == [5] + [3] * len(prefixes) + [25] * len(servers) + [
        31
    ]


def test_a_solicitation_is_answered_to_all_nodes() -> None:
    gateway = router.Router(NIC)
    (answer,) = gateway.answer(_icmp6(b"\x85" + bytes(7)))
    packet = _read(answer)
    assert answer[:6] == b"\x33\x33\0\0\0\1"
    assert (packet.source, packet.destination) == (ROUTER.packed, frame.ALL_NODES)
    assert (packet.hop_limit, packet.payload[0]) == (255, 134)
    assert not any(packets.checksum(packet.source, packet.destination, 58, packet.payload))


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param((b"\x85" + bytes(6), 255), id="cut short"),
        pytest.param((b"\x85" + bytes(7), 64), id="from beyond the link"),
        pytest.param((b"\x85\x01" + bytes(6), 255), id="with a code"),
        pytest.param((b"\x87" + bytes(7) + ROUTER.packed, 255), id="for the real router"),
    ],
)
def test_packets_without_an_answer(packet: tuple[bytes, int]) -> None:
    assert router.Router(NIC).answer(_icmp6(*packet)) == []


def test_the_stand_in_answers_only_for_its_router() -> None:
    gateway = router.Router(evolve(NIC, stand_in="02:42:00:00:00:01"))
    (answer,) = gateway.answer(_icmp6(b"\x87" + bytes(7) + ROUTER.packed))
    packet = _read(answer)
    assert (answer[:6], packet.destination) == (GUEST, packets.link_local(GUEST))
    assert packet.payload[4:].hex() == "e0000000" + _hex(str(ROUTER)) + "0201024200000001"
    assert gateway.answer(_icmp6(b"\x87" + bytes(7) + ADDRESS)) == []


def test_the_stand_in_defends_its_address() -> None:
    gateway = router.Router(evolve(NIC, stand_in="02:42:00:00:00:01"))
    (answer,) = gateway.answer(_icmp6(b"\x87" + bytes(7) + ROUTER.packed, source=bytes(16)))
    packet = _read(answer)
    assert (packet.destination, packet.payload[4]) == (frame.ALL_NODES, 0xA0)


# -- DHCPv6

ASSOCIATION = b"\0\0\0\7" + bytes(8)
FOR_EVER = b"\xff" * 8


def ask(kind: int, *options: tuple[int, bytes], nic: Ipv6Nic = NIC) -> dict[int, bytes]:
    """Return the reply's options, with its message type as option 0; empty without a reply."""
    message = bytes((kind,)) + b"xid" + b"".join(wire.option(*option) for option in options)
    reply = dhcp6.Server(nic).reply(message)
    if not reply:
        return {}
    assert reply[1:4] == b"xid"
    return {0: reply[:1], **dict(wire.read_options(reply[4:]))}


ME, YOU, IA = (wire.CLIENT_ID, CLIENT), (wire.SERVER_ID, OWN), (wire.IA_NA, ASSOCIATION)
GIVEN = b"\0\0\0\7" + FOR_EVER + wire.option(wire.IA_ADDRESS, ADDRESS + FOR_EVER)


@pytest.mark.parametrize(
    ("kind", "options", "answer"),
    [
        (wire.SOLICIT, (ME, IA), wire.ADVERTISE),
        (wire.SOLICIT, (ME, IA, (wire.RAPID_COMMIT, b"")), wire.REPLY),
        (wire.REQUEST, (ME, YOU, IA), wire.REPLY),
        (wire.RENEW, (ME, YOU, IA), wire.REPLY),
        (wire.REBIND, (ME, IA), wire.REPLY),
    ],
)
def test_the_containers_address_is_assigned_without_expiry(
    kind: int, options: tuple[tuple[int, bytes], ...], answer: int
) -> None:
    reply = ask(kind, *options)
    assert reply[0] == bytes((answer,))
    assert (reply[wire.CLIENT_ID], reply[wire.SERVER_ID]) == (CLIENT, OWN)
    assert reply[wire.IA_NA] == GIVEN
    assert (wire.RAPID_COMMIT in reply) == (len(options) == 3 and kind == wire.SOLICIT)
    assert reply[wire.DNS_SERVERS].hex() == _hex("2001:db8::53")
    assert reply[wire.DOMAIN_SEARCH] == b"\x07example\x03org\0"
    assert reply[wire.NTP].hex() == "00010010" + _hex("2001:db8::123")
    assert reply[wire.FQDN] == b"\x04\x03web\x07example\x03org\0"


NAMES = st.from_regex(r"\A[a-z0-9]{1,60}(\.[a-z0-9]{1,60}){0,3}\.?\Z").filter(is_domain)
SERVERS = st.lists(
    st.ip_addresses(v=6).filter(lambda address: not address.is_loopback), max_size=90
)


@given(st.integers(1, 20), SERVERS, st.lists(NAMES, max_size=50), SERVERS, NAMES)
def test_a_reply_fits_any_link_and_the_rest_is_reported(
    addresses: int,
    nameservers: list[IPv6Address],
    search: list[str],
    ntp: list[IPv6Address],
    domain: str,
) -> None:
    nic = interface(*(f"fd00::{number + 2:x}/64" for number in range(addresses)))
    identity = testing.identity(
        nic,
        domain=domain,
        resolver=resolver(*map(str, nameservers), search=tuple(search)),
        ntp=tuple(ntp),
    )
    (made,) = nics(identity, testing.wiring(identity))
    old = b"".join(
        wire.option(wire.IA_ADDRESS, bytes((number,)) * 16 + FOR_EVER) for number in range(4)
    )
    options = (
        (wire.CLIENT_ID, bytes(130)),
        (wire.SERVER_ID, dhcp6.Server(made)._id),
        (wire.IA_NA, ASSOCIATION + old),
        *((wire.IA_PD, ASSOCIATION) for _ in range(3)),
    )
    message = bytes((wire.RENEW,)) + b"xid" + b"".join(wire.option(*option) for option in options)
    assert 0 < len(dhcp6.Server(made).reply(message)) <= 1280 - 40 - 8
    lines = list(ipv6_gaps.gaps(identity))
    lists = (
        ("IPv6 nameservers", made.nameservers, list(map(str, nameservers))),
        ("search domains", made.search, search),
        ("IPv6 time servers", made.ntp, list(map(str, ntp))),
    )
    for label, carried, items in lists:
        assert list(carried) == items[: len(carried)]
        cut = f"{len(items) - len(carried)} of {len(items)} {label}, from "
        assert any(line.startswith(cut) for line in lines) == (len(carried) < len(items))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (wire.SOLICIT, (IA,)),
        (wire.SOLICIT, (ME, YOU, IA)),
        (wire.SOLICIT, ((wire.CLIENT_ID, b""), IA)),
        (wire.SOLICIT, ((wire.CLIENT_ID, bytes(131)), IA)),
        (wire.SOLICIT, (ME, (wire.IA_NA, bytes(11)))),
        (wire.SOLICIT, (ME, (wire.IA_NA, ASSOCIATION + wire.option(wire.IA_ADDRESS, b"short")))),
        (wire.SOLICIT, (ME, (wire.IA_NA, ASSOCIATION + b"\0\5\0\x18"))),
        (wire.SOLICIT, (ME, IA, (wire.OPTION_REQUEST, b"odd"))),
        (wire.REQUEST, (ME, IA)),
        (wire.REQUEST, (ME, (wire.SERVER_ID, CLIENT), IA)),
        (wire.RENEW, (ME, IA)),
        (wire.REBIND, (ME, YOU, IA)),
        (wire.CONFIRM, (ME,)),
        (wire.INFORMATION_REQUEST, (ME, IA)),
        (wire.INFORMATION_REQUEST, (ME, (wire.SERVER_ID, CLIENT))),
        (wire.ADVERTISE, (ME, YOU, IA)),
        (wire.REPLY, (ME, YOU, IA)),
        (12, (ME, IA)),
    ],
)
def test_messages_that_a_server_must_discard(
    kind: int, options: tuple[tuple[int, bytes], ...]
) -> None:
    assert ask(kind, *options) == {}


def test_an_information_request_gets_the_requested_options() -> None:
    reply = ask(wire.INFORMATION_REQUEST, (wire.OPTION_REQUEST, b"\0\x17"))
    assert set(reply) == {0, wire.SERVER_ID, wire.DNS_SERVERS}


@pytest.mark.parametrize("kind", [wire.RELEASE, wire.DECLINE])
def test_a_released_address_stays_the_guests(kind: int) -> None:
    assert ask(kind, ME, YOU, IA)[wire.STATUS] == b"\0\0"


@pytest.mark.parametrize(("address", "status"), [(ADDRESS, b"\0\0"), (OTHER, b"\0\4")])
def test_only_the_guests_address_is_confirmed(address: bytes, status: bytes) -> None:
    """A disk that was in another container has another address of the same prefix."""
    held = ASSOCIATION + wire.option(wire.IA_ADDRESS, address + FOR_EVER)
    assert ask(wire.CONFIRM, ME, (wire.IA_NA, held))[wire.STATUS] == status


def test_another_address_expires_at_renewal() -> None:
    held = ASSOCIATION + wire.option(wire.IA_ADDRESS, OTHER + FOR_EVER)
    reply = ask(wire.RENEW, ME, YOU, (wire.IA_NA, held))
    assert reply[wire.IA_NA] == GIVEN + wire.option(wire.IA_ADDRESS, OTHER + bytes(8))


def test_several_addresses_share_an_association() -> None:
    reply = ask(wire.SOLICIT, ME, IA, nic=evolve(NIC, addresses=("fd00::2", "fd00::99")))
    assert reply[wire.IA_NA] == GIVEN + wire.option(wire.IA_ADDRESS, OTHER + FOR_EVER)


def test_other_associations_get_no_address() -> None:
    second = (wire.IA_NA, b"\0\0\0\x08" + bytes(8))
    temporary, prefix = (wire.IA_TA, b"\0\0\0\7"), (wire.IA_PD, ASSOCIATION)
    reply = ask(wire.SOLICIT, ME, IA, temporary, prefix, second)
    assert reply[wire.IA_TA] == temporary[1] + wire.status(wire.NO_ADDRESSES)
    assert reply[wire.IA_PD] == ASSOCIATION + wire.status(wire.NO_PREFIXES)
    assert reply[wire.IA_NA] == second[1] + wire.status(wire.NO_ADDRESSES)


def test_a_client_may_not_update_the_dns() -> None:
    asked = ((wire.FQDN, b"\x01\x03me"), (wire.OPTION_REQUEST, b"\0\x27"))
    assert ask(wire.SOLICIT, ME, IA, *asked)[wire.FQDN][:1] == b"\x06"


def test_a_name_without_a_domain_has_no_final_zero() -> None:
    assert ask(wire.SOLICIT, ME, nic=evolve(NIC, name="web"))[wire.FQDN] == b"\x04\x03web"


def test_the_answer_goes_to_the_clients_address() -> None:
    message = bytes((wire.SOLICIT,)) + b"xid" + wire.option(*ME) + wire.option(*IA)
    (answer,) = dhcp6.Server(NIC).answer(_udp(message))
    packet = _read(answer)
    assert (answer[:6], packet.destination) == (GUEST, packets.link_local(GUEST))
    assert struct.unpack_from("!HH", packet.payload) == (547, 546)


def _messages() -> st.SearchStrategy[bytes]:
    """Generate bytes that pass the first checks of messages."""
    codes = st.sampled_from([1, 2, 3, 4, 5, 6, 14, 25, 39, 999])
    contents = st.one_of(st.binary(max_size=40), st.sampled_from([CLIENT, OWN, ASSOCIATION]))
    plain = st.builds(wire.option, codes, contents)
    nested = st.builds(
        lambda code, inner: wire.option(code, ASSOCIATION + b"".join(inner)),
        st.sampled_from([wire.IA_NA, wire.IA_PD]),
        st.lists(plain, max_size=40),
    )
    heads = st.builds(lambda kind: bytes((kind,)) + b"xid", st.integers(0, 255))
    named = st.sampled_from([b"", wire.option(*ME), wire.option(*ME) + wire.option(*YOU)])
    options = st.lists(st.one_of(plain, nested), max_size=30).map(b"".join)
    return st.builds(lambda *parts: b"".join(parts), heads, named, options)


@given(st.one_of(st.binary(max_size=2048), _messages()))
def test_a_hostile_guest_gets_only_its_own_address(message: bytes) -> None:
    reply = dhcp6.Server(NIC).reply(message)
    assert len(reply) <= 1232 - 8
    for code, content in wire.read_options(reply[4:]):
        if code == wire.IA_NA:
            for kind, address in wire.read_options(content[12:]):
                ended = address[16:] == bytes(8)
                assert kind != wire.IA_ADDRESS or ended or address[:16] == ADDRESS


@given(st.binary(max_size=600), st.sampled_from([packets.UDP, packets.ICMPV6]), st.booleans())
def test_a_hostile_guest_gets_at_most_one_answer(
    data: bytes, protocol: int, stands_in: bool
) -> None:
    nic = evolve(NIC, stand_in="02:42:00:00:00:01" if stands_in else "")
    packet = frame.Packet(GUEST, packets.link_local(GUEST), ADDRESS, protocol, 255, data)
    answers = router.Router(nic).answer(packet) or dhcp6.Server(nic).answer(packet)
    assert len(answers) <= 1


# -- link


@pytest.fixture
def filtered() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A pair of sockets with the filter, run by the kernel, between them."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with near, far:
        packet_socket.attach_filter(far, link.packet_filter(GUEST))
        far.setblocking(False)
        yield near, far


HEAD = b"\x33" * 6 + GUEST
FRAMES = {
    "solicitation": (frame.icmp6(HEAD, ADDRESS, OTHER, b"\x85" + bytes(7)), True),
    "neighbour": (frame.icmp6(HEAD, ADDRESS, OTHER, b"\x87" + bytes(23)), True),
    "dhcp": (frame.udp(HEAD, ADDRESS, OTHER, (546, 547), b"hello"), True),
    "advertisement": (frame.icmp6(HEAD, ADDRESS, OTHER, b"\x86" + bytes(15)), False),
    "dhcp answer": (frame.udp(HEAD, ADDRESS, OTHER, (547, 546), b"hello"), False),
    "other mac": (frame.icmp6(HEAD[:6] + SERVER, ADDRESS, OTHER, b"\x85" + bytes(7)), False),
    "ipv4": (HEAD + b"\x08\x00" + bytes(60), False),
    "cut short": (HEAD + b"\x86\xdd" + bytes(6) + b"\x3a", False),
    "cut shorter": (HEAD[:6], False),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_the_filter_passes_what_the_responder_answers(
    filtered: tuple[socket.socket, socket.socket], kind: str
) -> None:
    near, far = filtered
    made, passes = FRAMES[kind]
    near.send(made)
    if passes:
        assert far.recv(2048) == made
    else:
        with pytest.raises(BlockingIOError):
            far.recv(2048)


# -- helpers


def _units(message: bytes) -> Iterator[bytes]:
    """Yield the options of a router advertisement."""
    start = 16
    while start < len(message):
        length = 8 * message[start + 1]
        yield message[start : start + length]
        start += length


def _icmp6(message: bytes, hop_limit: int = 255, source: bytes = b"") -> frame.Packet:
    sender = source or packets.link_local(GUEST)
    return frame.Packet(GUEST, sender, frame.address("ff02::2"), packets.ICMPV6, hop_limit, message)


def _udp(data: bytes) -> frame.Packet:
    macs = b"\x33" * 6 + GUEST
    to = frame.address("ff02::1:2")
    return _read(frame.udp(macs, packets.link_local(GUEST), to, (546, 547), data))


def _read(made: bytes) -> frame.Packet:
    packet = frame.read(made)
    assert packet is not None
    return packet


def _hex(address: str) -> str:
    return IPv6Address(address).packed.hex()
