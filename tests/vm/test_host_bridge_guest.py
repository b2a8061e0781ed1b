"""A guest on the host's own network: the physical LAN's DHCP server gives it its address."""

from __future__ import annotations

import pytest

from tests.lab.namespace import Namespace, namespace
from tests.lab.netns import Lan
from tests.lab.services import dnsmasq
from tests.lab.wait import until
from tests.vm.conftest import Machine, ask

MAC = "02:42:ac:11:00:07"


@pytest.mark.vm
@pytest.mark.long
def test_a_guest_keeps_its_lease_over_a_renewal(network: Lan, machine: Machine) -> None:
    """The host's eth0 is in br0, and so is the container; the lease lasts two minutes."""
    host, beyond = network.station("machine"), network.station("neighbour")
    given = ("--dhcp-range=172.30.1.150,172.30.1.150,2m", f"--interface={network.bridge}")
    with namespace("web") as container, dnsmasq(network.host, *given, port=0) as server:
        _plug_into_the_hosts_bridge(host, container)
        with machine.booted(container, NO_DHCP="true") as guest:
            guest.says("vmnet-guest: eth0 172.30.1.150/24")
            assert ask(beyond, "172.30.1.150", "identity")["interfaces"][0]["mac"] == MAC
            until(
                lambda: server.output().count(f"DHCPACK({network.bridge}) 172.30.1.150") >= 2,
                90,
                "the lease to be renewed",
                detail=server.output,
            )
            identity = ask(beyond, "172.30.1.150", "identity")
    assert identity["interfaces"][0]["ipv4"] == ["172.30.1.150/24"]


def _plug_into_the_hosts_bridge(host: Namespace, container: Namespace) -> None:
    host.ip("address", "flush", "dev", "eth0")
    host.ip("link", "add", "br0", "address", host.mac, "type", "bridge", "stp_state", "0")
    host.ip("link", "set", "eth0", "master", "br0")
    host.ip("link", "set", "br0", "up")
    host.ip("address", "add", f"{host.address}/24", "dev", "br0")
    end = ("peer", "name", "eth0", "address", MAC, "netns", container.name)
    host.ip("link", "add", "vmport", "type", "veth", *end)
    host.ip("link", "set", "vmport", "master", "br0", "up")
    container.ip("link", "set", "eth0", "up")
