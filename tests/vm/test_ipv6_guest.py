"""IPv6 in real guests: they have only the container's addresses, and the gateway as router."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.lab.net.lan import WORLD6, Lan
from tests.lab.wait import WAIT, until
from tests.vm.conftest import DemoVm, ask
from tests.vm.debian_guest import Shell, booted, debian_guest

pytestmark = pytest.mark.vm


def test_the_guest_is_reached_from_beyond_the_gateway(network: Lan, machine: DemoVm) -> None:
    web = network.container("web", ipv6=True)
    own = web.nic().address6
    with machine.booted(web) as guest:
        guest.says(f"eth0 {web.address}/24")
        guest.says(f"eth0 {own}/128")
        identity = ask(network.world(), f"[{own}]", "identity")
    (eth0,) = identity["interfaces"]
    assert (eth0["ipv4"], eth0["ipv6"]) == ([f"{web.address}/24"], [f"{own}/128"])
    assert _default(identity) == _gateway(network)


def test_a_container_with_ipv6_only(network: Lan, machine: DemoVm) -> None:
    web = network.container(
        "web", ipv6=True, resolv_conf=f"nameserver {WORLD6}\nsearch example.test\n"
    )
    web.ip("-4", "address", "flush", "dev", "eth0")
    own = web.nic().address6
    with machine.booted(web) as guest:
        guest.says(f"eth0 {own}/128 dns {WORLD6}")
        identity = ask(network.world(), f"[{own}]", "identity")
    (eth0,) = identity["interfaces"]
    assert (eth0["ipv4"], eth0["ipv6"]) == ([], [f"{own}/128"])
    assert (identity["nameservers"], identity["search"]) == ([WORLD6], ["example.test"])
    assert _default(identity) == _gateway(network)


@pytest.mark.long
@pytest.mark.parametrize("ipv4", [True, False], ids=["dual-stack", "ipv6-only"])
def test_systemd_networkd(network: Lan, tmp_path: Path, ipv4: bool) -> None:
    """A Debian without network configuration, in which cloud-init makes networkd use DHCP."""
    web = network.container(
        "web",
        ipv6=True,
        domainname="example.org",
        resolv_conf=f"nameserver {WORLD6}\nsearch example.test\n",
        extra=("fd00:30:1::200/64 nodad",),
        routes=("fd00:98::/64 dev eth0", "fd00:99::/64 via fd00:30:1::1"),
    )
    if not ipv4:
        web.ip("-4", "address", "flush", "dev", "eth0")
    network.world()
    with booted(web, tmp_path, debian_guest().settings()) as guest:
        # networkd calls a link configured when DHCPv4, DHCPv6 or an advertisement has done so.
        addresses = {f"{web.nic().address6}/128", "fd00:30:1::200/128"}
        routes = {
            ("default", _gateway(network)),
            ("fd00:99::/64", _gateway(network)),
            ("fd00:30:1::/64", None),
            ("fd00:98::/64", None),
        }
        until(
            lambda: _addresses(guest) == addresses and _routes(guest) == routes,
            WAIT,
            "networkd to configure the link",
            interval=1,
            detail=lambda: f"{_addresses(guest)} {_routes(guest)}",
        )
        # networkd ignores a DHCP server's search domains unless UseDomains= is set.
        resolver = "cat /run/systemd/resolve/resolv.conf"
        named = lambda: f"nameserver {WORLD6}" in guest.ask(resolver).splitlines()  # noqa: E731
        until(named, WAIT, "resolved to know the server", interval=1)
        guest.await_answer(WORLD6)


def _addresses(guest: Shell) -> set[str]:
    """Return the guest's global addresses, including any that it generated itself.

    A tentative address is no source yet: a ping would leave with the link-local address, and the
    gateway would not forward it.
    """
    return {
        f"{address['local']}/{address['prefixlen']}"
        for link in guest.json("ip -j -6 address")
        for address in link["addr_info"]
        if address["scope"] == "global" and not address.get("tentative")
    }


def _routes(guest: Shell) -> set[tuple[str, str | None]]:
    """Return destination and gateway of each route from a router advertisement."""
    routes = guest.json("ip -j -6 route")
    return {(route["dst"], route.get("gateway")) for route in routes if route["protocol"] == "ra"}


def _default(identity: Any) -> str:
    """Return the default router of the demonstration guest."""
    (route,) = (route for route in identity["routes6"] if route.startswith("default "))
    return str(route.split()[2])


def _gateway(network: Lan) -> str:
    """Return the link-local address of the gateway."""
    addresses = network.host.addresses(network.bridge)
    (own,) = (address["local"] for address in addresses if address["scope"] == "link")
    return str(own)
