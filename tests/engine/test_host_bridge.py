"""Docker's containers share a bridge with the host's NIC, as in docs/networking.md."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.engine.conftest import BOOT_SECONDS, Vms
from tests.engine.test_ending import attached
from tests.lab.net.lan import Lan, lan
from tests.lab.net.services import dnsmasq
from tests.lab.wait import until
from tests.lab.web import fetch
from vmnet.host_bridge.inspection import DOCKER

pytestmark = [pytest.mark.engine, pytest.mark.long]

NIC, BRIDGE = "vmtnic0", "vmtlan0"
NAMES = ("--nic", NIC, "--bridge", BRIDGE)
HOST = "172.30.5.158"


@contextmanager
def bridged(vms: Vms, physical: Lan) -> Iterator[None]:
    """Give the engine's host a NIC on the physical network, and a bridge with that NIC."""
    on_host = vms.docker.on_host
    port = ("master", physical.bridge, "up")
    on_host("ip", "link", "add", NIC, "type", "veth", "peer", "name", "vmtnic1")
    try:
        on_host("ip", "link", "set", "vmtnic1", "netns", str(physical.host.path))
        physical.host.ip("link", "set", "vmtnic1", *port)
        mac = on_host("cat", f"/sys/class/net/{NIC}/address").stdout.strip()
        made = ("type", "bridge", "forward_delay", "0")
        on_host("ip", "link", "add", BRIDGE, "address", mac, *made)
        on_host("ip", "link", "set", NIC, "master", BRIDGE, "up")
        on_host("ip", "address", "add", f"{HOST}/24", "dev", BRIDGE)
        on_host("ip", "link", "set", BRIDGE, "up")
        yield
    finally:
        on_host("ip", "link", "delete", NIC, check=False)
        on_host("ip", "link", "delete", BRIDGE, check=False)


def test_guests_are_hosts_of_the_physical_network(vms: Vms) -> None:
    """The network's DHCP server leases addresses to guests for two minutes, and renews them."""
    daemon = vms.docker.daemon
    socket = daemon.socket if daemon else DOCKER
    options = ("--driver", "bridge", "-o", f"com.docker.network.bridge.name={BRIDGE}")
    subnet = ("--subnet", "172.30.5.0/24", "--gateway", HOST, "--ip-range", "172.30.5.240/28")
    with lan(5) as physical, bridged(vms, physical):
        serving = ("--dhcp-range=172.30.5.150,172.30.5.151,2m", f"--interface={physical.bridge}")
        with (
            dnsmasq(physical.host, *serving, port=0) as server,
            vms.docker.network("vmt-lan", *options, *subnet) as network,
        ):
            check = vms.docker.run(
                vms.image,
                *("host-bridge", "--check", *NAMES, "--address", f"{HOST}/24"),
                options=("--network", "host", "-v", f"{socket}:{DOCKER}"),
            )
            assert f"{BRIDGE} is Docker's network 'vmt-lan'" in check.stdout
            assert "missing" not in check.stdout
            connected = ("--network", network, "-e", "NO_DHCP=true", "-it")
            pair = [vms.start(*connected) for _ in range(2)]
            addresses = {}
            for vm in pair:
                mac = vm.inspect()["NetworkSettings"]["Networks"][network]["MacAddress"]
                vms.await_log(vm, "vmnet-guest: eth0 172.30.5.15")
                lease = f" {mac} "
                (addresses[mac],) = {
                    line.split(lease)[0].split()[-1]
                    for line in server.output().splitlines()
                    if "DHCPACK(" in line and lease in line
                }
            assert sorted(addresses.values()) == ["172.30.5.150", "172.30.5.151"]

            def renewed() -> bool:
                acks = f"DHCPACK({physical.bridge})"
                log = server.output()
                return all(log.count(f"{acks} {address} ") >= 2 for address in addresses.values())

            for vm in pair:  # not after half of the two minutes
                with attached(vms, vm) as console:
                    console.send_line("killall -USR1 udhcpc")
            until(renewed, BOOT_SECONDS, "both leases to be renewed", detail=server.output)
            for mac, address in addresses.items():
                url = f"http://{address}/cgi-bin/identity"
                (eth0,) = fetch(physical.host.run, url).json()["interfaces"]
                assert (eth0["mac"], eth0["ipv4"]) == (mac, [f"{address}/24"])
            for vm in pair:
                vm.rm()
