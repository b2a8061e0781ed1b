"""All real clients understand a real server's options in the same way."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address

import pytest

from tests.lab.clients.dhcp4 import CLIENTS, Client
from tests.lab.clients.dhcp6 import CLIENTS6, Client6
from tests.lab.net.bridge_guest import guest
from tests.lab.net.lan import Lan
from tests.lab.net.services import dnsmasq
from tests.lab.wait import WAIT

MAC = "02:42:ac:1e:01:02"
OPTIONS = (
    "--dhcp-range=172.30.1.2,static,255.255.255.0",
    f"--dhcp-host={MAC},172.30.1.2,shop,infinite",
    "--dhcp-option=3,172.30.1.1",
    "--dhcp-option=6,172.30.1.1,9.9.9.9",
    "--dhcp-option=15,example.org",
    "--dhcp-option=26,1450",
    "--dhcp-option=42,172.30.1.1",
    "--dhcp-option=119,example.org,corp.example.org",
    "--dhcp-option=121,10.9.0.0/16,172.30.1.7,169.254.1.1/32,0.0.0.0,0.0.0.0/0,172.30.1.1",
    "--no-ping",
    "--interface=docker0",
)


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.__name__)
def test_a_client_gets_every_option(network: Lan, client: Client) -> None:
    with (
        dnsmasq(network.host, *OPTIONS, port=0),
        guest(network.host, network.bridge, MAC) as machine,
    ):
        lease = client(machine)
        assert lease.address == IPv4Interface("172.30.1.2/24")
        assert lease.routers == (IPv4Address("172.30.1.1"),)
        assert lease.dns == (IPv4Address("172.30.1.1"), IPv4Address("9.9.9.9"))
        assert (lease.hostname, lease.domain, lease.mtu) == ("shop", "example.org", 1450)
        assert lease.ntp == (IPv4Address("172.30.1.1"),)
        assert lease.search == ("example.org", "corp.example.org")
        assert lease.routes == (
            (IPv4Network("10.9.0.0/16"), IPv4Address("172.30.1.7")),
            (IPv4Network("169.254.1.1/32"), IPv4Address("0.0.0.0")),
            (IPv4Network("0.0.0.0/0"), IPv4Address("172.30.1.1")),
        )
        assert lease.seconds == 2**32 - 1
        assert lease.server == IPv4Address("172.30.1.1")
        lease.configure(machine)
        machine.run("ping", "-c1", f"-w{WAIT // 2}", network.gateway)


OPTIONS6 = (
    "--enable-ra",
    "--dhcp-range=fd00:30:1::,static,64",
    f"--dhcp-host={MAC},[fd00:30:1::2],shop,infinite",
    "--dhcp-option=option6:dns-server,[fd00:30:1::1]",
    "--dhcp-option=option6:domain-search,example.org,corp.example.org",
    "--interface=docker0",
)


@pytest.mark.parametrize("client", CLIENTS6, ids=lambda client: client.__name__)
def test_a_client_gets_an_ipv6_address(network: Lan, client: Client6) -> None:
    with (
        dnsmasq(network.host, *OPTIONS6, port=0),
        guest(network.host, network.bridge, MAC) as machine,
    ):
        lease = client(machine)
        assert lease.address == IPv6Address("fd00:30:1::2")
        assert lease.dns == (IPv6Address("fd00:30:1::1"),)
        assert lease.search == ("example.org", "corp.example.org")
