"""Machines that claim the bridge's own address, legitimately or not."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

from tests.lab.clients.dhcp4 import udhcpc
from tests.lab.command import Process
from tests.lab.net.bridge_guest import guest
from tests.lab.net.lan import WORLD, Lan
from tests.lab.net.namespace import Namespace
from tests.lab.net.services import dnsmasq
from tests.lab.wait import WAIT, until
from tests.netns.conftest import VMNET, Vmnet, is_vm
from vmnet.lifecycle.vm_record import GuestNic
from vmnet.running import local_state
from vmnet.running.local_state import LocalState

SETGID, SETUID, NET_ADMIN, NET_RAW = 1 << 6, 1 << 7, 1 << 12, 1 << 13
RESPONDER = "vmnet-responder"
ON_LOOPBACK = "nameserver 127.0.0.11\n"
SUBNET = IPv4Network("172.30.1.0/24")
FORGED = bytes.fromhex("0200000000aa")
_BROADCAST = b"\xff" * 6
_TAGGED = b"\x81\x00\x00\x07"  # VLAN 7


def test_the_bridge_yields_its_address_to_a_container(network: Lan, vmnet: Vmnet) -> None:
    """The engine has assigned the address. The guest keeps its lease and its names."""
    network.world()
    web, station = network.container("web", resolv_conf=ON_LOOPBACK), network.station()
    with engine(web), vmnet.running(web) as process, guest(web, "br0", web.mac) as vm:
        lease = udhcpc(vm)
        lease.configure(vm)
        own = first_spare(web, process)
        station.run("ping", "-c1", "-W5", str(own))
        sets = responders_capabilities(web)
        assert (sets["CapEff"], sets["CapPrm"]) == (0, SETGID | SETUID | NET_ADMIN | NET_RAW)
        other = network.container("other", address=str(own))
        other.run("ping", "-c1", "-W5", network.gateway)  # sends ARP from its address
        log = process.output
        claim = f"warning: {other.mac} claims {own}, which was free when br0 took it: br0 gives"
        until(lambda: claim in log(), WAIT, "the warning", detail=log)
        until(lambda: spare(web) not in (own, IPv4Address(0)), WAIT, "the change", detail=log)
        change = f"br0 now has the address {spare(web)}"
        until(lambda: change in log(), WAIT, "the change in the log", detail=log)
        assert responders_capabilities(web)["CapEff"] == 0
        station.ip("neighbour", "flush", "dev", "eth0")
        station.run("ping", "-c1", "-W5", str(own))
        (known,) = station.ip("-j", "neighbour", "show", str(own)).json()
        assert known["lladdr"] == other.mac
        vm.run("ping", "-c1", "-W5", str(own))
        assert resolves(vm, lease.dns[0])
        web.run("ping", "-c1", "-W5", WORLD)  # like an engine that queries upstream servers
        assert str(udhcpc(vm).address) == f"{web.address}/24"


def test_a_forged_claim_is_answered_and_a_claim_in_a_vlan_is_ignored(
    network: Lan, vmnet: Vmnet
) -> None:
    web, station = network.container("web", resolv_conf=ON_LOOPBACK), network.station()
    with vmnet.running(web) as process, card(station) as frames:
        own = first_spare(web, process)
        for _ in range(3):
            frames.send(claim(own, tagged=True))
        frames.send(claim(own))
        until(lambda: announces(frames, own), WAIT, "the announcement", detail=process.output)
        assert spare(web) == own
        assert "claims" not in process.output()


def test_persistent_forged_claims_do_not_cost_the_guest_its_dns(network: Lan, vmnet: Vmnet) -> None:
    """The claims continue until the bridge has only a link-local address."""
    web, station = network.container("web", resolv_conf=ON_LOOPBACK), network.station()
    with (
        engine(web),
        vmnet.running(web) as process,
        guest(web, "br0", web.mac) as vm,
        card(station) as frames,
    ):
        lease = udhcpc(vm)
        lease.configure(vm)
        first = first_spare(web, process)
        dispossess(process, frames, first)
        log = process.output
        until(
            lambda: f"br0 now has the address {spare(web)}" in log(), WAIT, "the change", detail=log
        )
        second = spare(web)
        assert second != first
        dispossess(process, frames, second)
        assert all(address.is_link_local for address in addresses(web))
        assert resolves(vm, lease.dns[0])
        seen = seen_bridge(web, vmnet)
        assert [address.ip for address in seen.addresses] == addresses(web)
        assert seen.trouble.startswith("br0 has no spare address: until it has one, names")
        assert not [route for route in web.routes() if route["dst"] == "default"]


def test_a_restarted_responder_watches_the_bridges_current_address(
    network: Lan, vmnet: Vmnet
) -> None:
    """The keeper starts a new responder with the original configuration."""
    web, station = network.container("web", resolv_conf=ON_LOOPBACK), network.station()
    with vmnet.running(web) as process, card(station) as frames:
        log, first = process.output, first_spare(web, process)
        dispossess(process, frames, first)
        until(
            lambda: f"br0 now has the address {spare(web)}" in log(), WAIT, "the change", detail=log
        )
        second, ended = spare(web), web.pid_of(RESPONDER)
        os.kill(ended, signal.SIGKILL)
        until(lambda: web.pids_of(RESPONDER) not in ([], [ended]), WAIT, "a successor", detail=log)
        dispossess(process, frames, second)
        until(lambda: spare(web) in SUBNET, WAIT, "another address", detail=log)
        assert spare(web) not in (first, second)


def test_a_fixed_address_works_without_net_raw(network: Lan, vmnet: Vmnet) -> None:
    """Some engines do not grant NET_RAW."""
    web = network.container("web", resolv_conf=ON_LOOPBACK)
    environ = {**vmnet.environ, "VMNET_BRIDGE_ADDRESS": "172.30.1.250/24"}
    without = ("setpriv", "--bounding-set", "-net_raw", "--inh-caps", "-net_raw")
    with web.popen(*without, *VMNET, "run", env=environ, pid=True) as process:
        until(lambda: is_vm(process), WAIT, "vmnet to become the VM", detail=process.output)
        assert "warning: no permission to watch for address conflicts" in process.output()
        with guest(web, "br0", web.mac) as vm:
            assert str(udhcpc(vm).address) == f"{web.address}/24"


@contextmanager
def engine(container: Namespace) -> Iterator[None]:
    """The engine's resolver on loopback."""
    bound = ("--listen-address=127.0.0.11", "--bind-interfaces")
    with dnsmasq(container, *bound, "--address=/db.test/192.0.2.7"):
        yield


def resolves(vm: Namespace, server: IPv4Address) -> bool:
    asked = vm.run("busybox", "nslookup", "-type=a", "db.test", str(server))
    return "192.0.2.7" in asked.stdout


@contextmanager
def card(where: Namespace) -> Iterator[socket.socket]:
    """A socket that sends and receives ARP on a namespace's eth0."""
    with where.entered():
        packets = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
    with packets:
        packets.bind(("eth0", 0x0806))
        packets.setblocking(False)
        yield packets


def claim(address: IPv4Address, *, tagged: bool = False) -> bytes:
    """Return a forged ARP request that claims an address."""
    head = _BROADCAST + FORGED + (_TAGGED if tagged else b"")
    arp = bytes.fromhex("08060001080006040001") + FORGED + address.packed
    return head + arp + bytes(6) + address.packed


def announces(frames: socket.socket, address: IPv4Address) -> bool:
    """Return whether another machine has announced the address."""
    try:
        heard = frames.recv(2048)
    except BlockingIOError:
        return False
    return heard[28:32] == heard[38:42] == address.packed and heard[6:12] != FORGED


def dispossess(process: Process, frames: socket.socket, address: IPv4Address) -> None:
    """Claim an address until the bridge gives it up."""

    def is_given_up() -> bool:
        frames.send(claim(address))
        return f"claims {address}, " in process.output()

    until(is_given_up, WAIT, f"{address} to be given up", detail=process.output)


def addresses(container: Namespace) -> list[IPv4Address]:
    """Return the bridge's IPv4 addresses."""
    found = (address for address in container.addresses("br0") if address["family"] == "inet")
    return [IPv4Interface(address["local"]).ip for address in found]


def spare(container: Namespace) -> IPv4Address:
    """Return the bridge's address in the subnet, or 0.0.0.0 if it has none."""
    return next((own for own in addresses(container) if own in SUBNET), IPv4Address(0))


def first_spare(container: Namespace, process: Process) -> IPv4Address:
    """Wait until the bridge has taken an address of the subnet, and return it."""
    taken = f"br0 now has the address {SUBNET[0].exploded.rsplit('.', 1)[0]}."
    until(lambda: taken in process.output(), WAIT, "an address", detail=process.output)
    return spare(container)


def seen_bridge(container: Namespace, vmnet: Vmnet) -> LocalState:
    """Return the bridge as `vmnet status` and `vmnet health` see it."""
    (record,) = json.loads((vmnet.run_dir / "vm.json").read_text())["nics"]
    with container.entered():
        return local_state.read(GuestNic(**record))


def responders_capabilities(container: Namespace) -> dict[str, int]:
    """Return the responder's effective and permitted capabilities."""
    pid = container.pid_of(RESPONDER)
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    sets = dict(line.split(":\t") for line in lines if line.startswith("Cap"))
    return {name: int(sets[name], 16) for name in ("CapEff", "CapPrm")}
