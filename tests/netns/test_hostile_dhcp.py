"""A guest that misuses DHCP, by malice or by mistake."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import IPv4Interface
from pathlib import Path

import pytest
from vmnet_dnsmasq.service import LARGEST_FILE

from tests.lab.clients.dhcp4 import udhcpc
from tests.lab.command import run
from tests.lab.net.bridge_guest import guest
from tests.lab.net.lan import Lan
from tests.lab.net.namespace import Namespace
from tests.lab.wait import WAIT, until
from tests.netns.conftest import Vmnet


# dnsmasq never leases the second address from a range.
@pytest.mark.parametrize("address", ["172.30.1.2/24", "192.168.0.255/20"])
def test_a_declined_address_is_offered_again_at_once(
    network: Lan, vmnet: Vmnet, address: str
) -> None:
    """The client detects a conflict at its first request, and none at its second."""
    web = network.container("web", address=address, gateway=False)
    own = IPv4Interface(address)
    log = vmnet.run_dir / "dnsmasq.log"
    declined = f"DHCPDECLINE(br0) {own.ip} {web.mac}"
    with vmnet.running(web), guest(web, "br0", web.mac) as vm:
        with guest(web, "br0", "02:42:00:00:00:99", port="rival0") as rival:
            rival.ip("address", "add", address, "dev", "eth0")
            client = ("udhcpc", "-f", "-a", "-i", "eth0", "-s", "/bin/true")
            with vm.popen(*client) as process:
                said = process.output
                until(lambda: declined in log.read_text(), WAIT, declined, detail=said)
        lease = udhcpc(vm)
    assert lease.address == own


def test_an_earlier_machines_lease_and_full_log_have_no_effect(network: Lan, vmnet: Vmnet) -> None:
    """The run directory outlives its container, and the next container has another MAC."""
    web = network.container("web")
    vmnet.run_dir.mkdir()
    left = f"0 02:42:00:00:00:99 {web.address} old *\n"
    (vmnet.run_dir / "dnsmasq.leases").write_text(left)
    log = vmnet.run_dir / "dnsmasq.log"
    log.write_bytes(bytes(LARGEST_FILE))
    with vmnet.running(web), guest(web, "br0", web.mac) as vm:
        lease = udhcpc(vm)
        assert f"DHCPACK(br0) {web.address}" in log.read_text()
    assert str(lease.address.ip) == web.address


def test_a_flood_does_not_fill_the_disk_or_stop_the_service(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web", hosts="172.30.1.66 db\n")
    with vmnet.running(web), guest(web, "br0", web.mac) as vm:
        log = vmnet.run_dir / "dnsmasq.log"

        def is_full() -> bool:
            flood(vm, web.mac, 500)
            return log.stat().st_size >= LARGEST_FILE

        until(is_full, WAIT, "the log to reach its limit")
        flood(vm, web.mac, 2000)
        (server,) = udhcpc(vm).dns
        assert log.stat().st_size == LARGEST_FILE
        written = [file.stat().st_size for file in vmnet.run_dir.iterdir()]
    assert sum(written) < LARGEST_FILE + 65536
    assert server.is_link_local


def test_a_full_disk_does_not_stop_the_service(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web", hosts="172.30.1.66 db\n")
    with (
        small_disk(vmnet.run_dir),
        vmnet.running(web),
        guest(web, "br0", web.mac) as vm,
    ):
        fill(vmnet.run_dir)
        lease = udhcpc(vm)
        lease.configure(vm)
        answer = vm.run("busybox", "nslookup", "-type=a", "db", str(lease.dns[0]))
    assert str(lease.address.ip) == web.address
    assert "172.30.1.66" in answer.stdout


def flood(vm: Namespace, mac: str, count: int) -> None:
    """Send DISCOVERs, and ignore the answers."""
    discover = _discover(bytes.fromhex(mac.replace(":", "")))
    with vm.entered(), socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as card:
        card.bind(("eth0", 0))
        for _ in range(count):
            card.send(discover)


def _discover(mac: bytes) -> bytes:
    """Return a DISCOVER (RFC 2131 section 2) in a frame, without the optional UDP checksum."""
    head = struct.pack("!BBBBIHH16x", 1, 1, 6, 0, 1, 0, 0x8000) + mac.ljust(208, b"\0")
    message = (head + b"\x63\x82\x53\x63" + b"\x35\x01\x01\xff").ljust(300, b"\0")
    udp = struct.pack("!HHHH", 68, 67, 8 + len(message), 0) + message
    ip = struct.pack("!BBHIBBH4x4s", 0x45, 0, 20 + len(udp), 0, 64, 17, 0, b"\xff" * 4)
    total = sum(struct.unpack("!10H", ip))
    checksum = struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF)
    return b"\xff" * 6 + mac + b"\x08\x00" + ip[:10] + checksum + ip[12:] + udp


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    folder.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=256k,mode=755", "vmt", folder)
    try:
        yield
    finally:
        run("umount", "--lazy", folder)


def fill(folder: Path) -> None:
    """Write a file until the disk is full."""
    with (folder / "filler").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    assert os.statvfs(folder).f_bavail == 0
