"""The bridge's address: when the responder watches it, gives it up, and what it logs."""

from __future__ import annotations

import json
import socket
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from attrs import define, evolve, field
from vmnet_dnsmasq.config import spare_option
from vmnet_dnsmasq.responder import defended_address, link, privileges, rtnetlink
from vmnet_dnsmasq.responder.defended_address import DefendedAddress
from vmnet_dnsmasq.responder_delivery import BridgeAddress
from vmnet_dnsmasq.rows import ROWS
from vmnet_dnsmasq.service import deliver

from tests.unit import bpf
from tests.unit.frames import arp
from vmnet import testing
from vmnet.testing import interface, resolver

MAC, OTHER = bytes.fromhex("060000000001"), bytes.fromhex("0242ac110009")
FIRST, SECOND, THIRD = "172.17.255.254", "172.17.255.253", "172.17.255.252"
CONFIG = BridgeAddress(
    bridge="br0",
    mac="06:00:00:00:00:01",
    guests_end="",
    tap="tap0",
    uplink="eth0",
    addresses=(FIRST, SECOND, THIRD),
    prefix=16,
    gateway="172.17.0.1",
    forwards=True,
    option_file="",
    stable="169.254.7.7",
)
PACKET_TYPE, OTHER_HOST = 0xFFFFF004, 3


def test_a_spare_address_is_watched_without_ipv6() -> None:
    identity = testing.identity(resolver=resolver("127.0.0.11"))
    wiring = testing.wiring(identity, nameserver="172.17.255.254/16")
    delivery = deliver(testing.settings({"VMNET_LOG": "json"}, *ROWS), identity, wiring)
    assert [daemon.name for daemon in delivery.daemons] == ["dnsmasq", "the responder"]
    config = json.loads(delivery.files[-1].content)
    assert (config["log_form"], config["nics"]) == ("json", [])
    (address,) = config["bridge_addresses"]
    assert (address["bridge"], address["tap"]) == ("br0", "tap0")
    assert (address["addresses"], address["prefix"]) == ([FIRST], 16)
    assert (address["mac"], address["gateway"]) == (testing.local(wiring).mac, "")
    assert address["forwards"]


def test_the_configuration_contains_replacements_and_the_gateway() -> None:
    identity = testing.identity(
        interface("172.17.0.2/16", gateway="172.17.0.1"), resolver=resolver("127.0.0.11")
    )
    wiring = testing.wiring(identity, nameserver=f"{FIRST}/16")
    (port,) = wiring.ports
    spares = tuple(IPv4Interface(f"{text}/16") for text in (SECOND, THIRD))
    own = evolve(testing.local(wiring), spares=spares, gateway=IPv4Address("172.17.0.1"))
    port = evolve(port, local=own)
    delivery = deliver(testing.settings({}, *ROWS), identity, evolve(wiring, ports=(port,)))
    (address,) = json.loads(delivery.files[-1].content)["bridge_addresses"]
    assert address["addresses"] == [FIRST, SECOND, THIRD]
    assert address["gateway"] == "172.17.0.1"


def test_an_address_is_claimed_after_the_start() -> None:
    """The bridge starts with its link-local address; the lease names no address that it lacks."""
    identity = testing.identity(
        interface("172.17.0.2/16", gateway="172.17.0.1"), resolver=resolver("127.0.0.11")
    )
    wiring = testing.wiring(identity, nameserver="169.254.7.7/32")
    spares = tuple(IPv4Interface(f"{text}/16") for text in (FIRST, SECOND))
    own = evolve(testing.local(wiring), spares=spares)
    wiring = evolve(wiring, ports=(evolve(wiring.ports[0], local=own),))
    delivery = deliver(testing.settings({}, *ROWS), identity, wiring)
    files = {file.path.name: file.content.decode() for file in delivery.files}
    assert [daemon.late for daemon in delivery.daemons] == [False, True]
    (address,) = json.loads(files["responder.json"])["bridge_addresses"]
    assert address["addresses"] == [FIRST, SECOND]
    assert (address["prefix"], address["stable"]) == (16, "169.254.7.7")
    assert files["nameserver"] == ""
    assert FIRST not in files["dnsmasq.conf"]
    assert "bind-dynamic" in files["dnsmasq.conf"].splitlines()


@pytest.mark.parametrize(
    ("frame", "held", "probed"),
    [
        (arp(FIRST, mac=OTHER), True, True),
        (arp(FIRST, mac=OTHER, operation=2), True, True),
        (arp(FIRST, mac=MAC), False, False),
        (arp(SECOND, mac=OTHER, target=FIRST), False, False),  # it resolves the address
        (arp("0.0.0.0", mac=OTHER, target=FIRST), False, True),  # it probes for the address
        (arp("0.0.0.0", mac=OTHER, target=SECOND), False, False),
        (arp("0.0.0.0", mac=MAC, target=FIRST), False, False),
        (arp(FIRST, mac=OTHER).replace(b"\x08\x00\x06\x04", b"\x86\xdd\x06\x04"), False, False),
        (arp(FIRST, mac=OTHER)[:30], False, False),
    ],
)
def test_the_filter_passes_only_claims(frame: bytes, held: bool, probed: bool) -> None:
    packed = socket.inet_aton(FIRST)
    for probes, expected in ((False, held), (True, probed)):
        program = link.claims(packed, MAC, probes=probes)
        assert bool(bpf.run(program, frame)) == expected
        assert not bpf.run(program, frame, {PACKET_TYPE: OTHER_HOST})  # in a VLAN


@define
class Bridge:
    """A fake of the bridge's link, the kernel, the log and the clock."""

    now: float = 1000.0
    waiting: list[bytes] = field(factory=list)
    sent: list[str] = field(factory=list)
    has: str = FIRST
    logged: list[str] = field(factory=list)
    has_carrier: bool = True

    def watch(self, config: BridgeAddress = CONFIG) -> DefendedAddress:
        return DefendedAddress(config, cast("Any", self))

    def receive(self) -> bytes:
        return self.waiting.pop(0) if self.waiting else b""

    def select(self, program: bytes) -> None:
        pass

    def hear(self, program: bytes) -> None:
        self.waiting.clear()

    def send(self, frame: bytes) -> None:
        kind = "announces" if any(frame[28:32]) else "probes"
        self.sent.append(f"{kind} {socket.inet_ntoa(frame[38:42])}")

    def warning(self, text: str, hint: str, *, event: str = "") -> None:
        self.logged.append(text)

    def info(self, text: str, *, event: str = "") -> None:
        self.logged.append(text)

    def add(self, _config: BridgeAddress, packed: bytes) -> str:
        self.has = socket.inet_ntoa(packed)
        return ""

    def remove(self, _config: BridgeAddress, packed: bytes) -> None:
        assert self.has == socket.inet_ntoa(packed)
        self.has = ""

    def is_running(self, name: str) -> bool:
        assert name == CONFIG.uplink
        return self.has_carrier

    def is_here(self, packed: bytes) -> bool:
        return self.has == socket.inet_ntoa(packed)

    def claims(self, watched: DefendedAddress, text: str) -> None:
        self.waiting.append(arp(text, mac=OTHER))
        watched.serve()

    def wait(self, watched: DefendedAddress, seconds: float) -> None:
        """Let time pass, and call :meth:`DefendedAddress.wake` whenever it is due."""
        end = self.now + seconds
        while watched.due <= end:
            self.now = watched.due
            watched.wake()
        self.now = end


@pytest.fixture
def bridge(monkeypatch: pytest.MonkeyPatch) -> Bridge:
    bridge = Bridge()
    monkeypatch.setattr(link, "bridge", lambda _name, _program: bridge)
    monkeypatch.setattr(link, "watch", lambda _name: bridge)
    monkeypatch.setattr(defended_address, "time", SimpleNamespace(monotonic=lambda: bridge.now))
    for name in ("add", "remove", "is_here", "is_running"):
        monkeypatch.setattr(rtnetlink, name, getattr(bridge, name))
    for name in ("regain", "put_aside"):
        monkeypatch.setattr(privileges, name, lambda: None)
    return bridge


def test_a_new_address_is_announced_again(bridge: Bridge) -> None:
    """RFC 5227 section 2.3: twice, the first time by the kernel."""
    watched = bridge.watch()
    bridge.wait(watched, 1.9)
    assert bridge.sent == []
    bridge.wait(watched, 600)
    assert bridge.sent == [f"announces {FIRST}"]


def test_a_claim_while_the_address_is_taken_is_contested(bridge: Bridge) -> None:
    bridge.has = ""
    watched = bridge.watch()
    while bridge.sent != [f"probes {FIRST}"] * 3:
        bridge.wait(watched, 0.01)
    bridge.waiting.append(arp(FIRST, mac=OTHER))
    bridge.wait(watched, 0.06)
    assert bridge.has == FIRST
    bridge.sent.clear()
    watched.serve()
    assert bridge.sent == [f"probes {FIRST}"]
    bridge.claims(watched, FIRST)
    assert bridge.has == ""


def test_a_free_address_is_taken_announced_and_probed_for_again(bridge: Bridge) -> None:
    """RFC 5227 section 2.1; a switch may not have forwarded the first probes."""
    bridge.has = ""
    watched = bridge.watch()
    bridge.wait(watched, 0.3)
    assert bridge.has == FIRST
    taken = [f"probes {FIRST}"] * 3 + [f"announces {FIRST}"]
    assert bridge.sent == taken
    bridge.wait(watched, 600)
    assert bridge.sent == taken * 2
    assert bridge.logged == [f"br0 now has the address {FIRST}"]


def test_addresses_in_use_are_skipped_at_once(bridge: Bridge) -> None:
    bridge.has = ""
    watched = bridge.watch()
    for used in (FIRST, SECOND):
        bridge.wait(watched, 0.1)
        bridge.claims(watched, used)
    bridge.wait(watched, 0.3)
    assert bridge.has == THIRD
    assert f"announces {FIRST}" not in bridge.sent


def test_a_machine_that_answers_only_the_second_probes_gets_its_address_back(
    bridge: Bridge,
) -> None:
    bridge.has = ""
    watched = bridge.watch()
    bridge.wait(watched, 2.2)
    assert bridge.has == FIRST
    for _ in range(2):  # it answers the probe that follows its first answer, too
        bridge.claims(watched, FIRST)
    bridge.wait(watched, 1)
    assert bridge.has == SECOND


def test_a_lost_probe_makes_no_address_look_free(bridge: Bridge) -> None:
    """A bridge drops what it can't forward, until the kernel has seen the uplink's carrier."""
    bridge.has, bridge.has_carrier = "", False
    watched = bridge.watch()
    bridge.wait(watched, 60)
    assert (bridge.sent, bridge.has) == ([], "")
    bridge.has_carrier = True
    bridge.wait(watched, 5)
    assert bridge.has == FIRST


def test_no_free_address_is_reported_once(bridge: Bridge) -> None:
    bridge.has = ""
    watched = bridge.watch()
    for _ in range(3600 * 10):
        bridge.wait(watched, 0.1)
        while bridge.sent:
            bridge.claims(watched, bridge.sent.pop().split()[1])
    assert bridge.has == ""
    (line,) = bridge.logged
    assert line.startswith("br0 finds no free address; until it has another address, the guest")


def test_dnsmasq_learns_the_address_that_the_bridge_has(bridge: Bridge, tmp_path: Path) -> None:
    file = tmp_path / "nameserver"
    bridge.has = ""
    watched = bridge.watch(evolve(CONFIG, option_file=str(file)))
    bridge.wait(watched, 1)
    assert file.read_text() == spare_option(FIRST)
    for _ in range(2):
        bridge.claims(watched, FIRST)
    assert file.read_text() == spare_option(CONFIG.stable)
    bridge.wait(watched, 1)
    assert file.read_text() == spare_option(SECOND)


def test_a_claim_that_no_machine_confirms_is_answered_once(bridge: Bridge) -> None:
    watched = bridge.watch()
    for _ in range(2):
        bridge.claims(watched, FIRST)
        bridge.wait(watched, 20)
        assert bridge.sent == [f"probes {FIRST}"] * 3 + [f"announces {FIRST}"]
        bridge.sent.clear()
    assert (bridge.has, bridge.logged) == (FIRST, [])


def test_a_second_claim_within_ten_seconds_takes_the_address(bridge: Bridge) -> None:
    watched = bridge.watch()
    bridge.claims(watched, FIRST)
    bridge.wait(watched, 9)
    bridge.claims(watched, FIRST)
    assert bridge.has == ""
    bridge.wait(watched, 1)
    assert bridge.has == SECOND
    lost, found = bridge.logged
    assert lost.startswith(f"{OTHER.hex(':')} claims {FIRST}, which was free when br0 took it: br0")
    assert "the guest resolves no names outside the network" in lost
    assert found == f"br0 now has the address {SECOND}"


def test_an_address_that_another_machine_has_is_skipped(bridge: Bridge) -> None:
    watched = bridge.watch()
    for _ in range(2):
        bridge.claims(watched, FIRST)
    bridge.wait(watched, 0)
    bridge.claims(watched, SECOND)
    bridge.wait(watched, 1)
    assert bridge.has == THIRD


def test_a_successor_watches_the_address_that_the_bridge_has(bridge: Bridge) -> None:
    """The keeper replaces a responder that has ended, and the configuration stays the same."""
    bridge.has = SECOND
    watched = bridge.watch()
    bridge.claims(watched, SECOND)
    bridge.claims(watched, SECOND)
    bridge.wait(watched, 1)
    assert bridge.has == THIRD
    bridge.has = ""
    bridge.wait(bridge.watch(), 120)
    assert bridge.has == FIRST


@pytest.mark.parametrize("addresses", [(FIRST,), (FIRST, SECOND, THIRD)])
def test_repeated_false_claims_do_not_flood_the_log(
    bridge: Bridge, addresses: tuple[str, ...]
) -> None:
    """For a day, a machine claims every address that the bridge takes."""
    watched = bridge.watch(evolve(CONFIG, addresses=addresses))
    for _ in range(24 * 60 * 6):
        for _ in range(2 if bridge.has else 0):
            bridge.claims(watched, bridge.has)
        bridge.wait(watched, 10)
    assert len(bridge.logged) < 80
    bridge.wait(watched, 3600)
    assert bridge.has in addresses
