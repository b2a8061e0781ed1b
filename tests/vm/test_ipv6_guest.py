"""IPv6 in real guests: the container's address and no other, the gateway as router."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.lab.netns import WORLD6, Lan
from tests.lab.wait import until
from tests.vm.conftest import Machine, ask
from tests.vm.debian_guest import booted, debian_guest

pytestmark = pytest.mark.vm


def test_the_guest_is_reached_from_beyond_the_gateway(network: Lan, machine: Machine) -> None:
    web = network.container("web", ipv6=True)
    own = web.nic().address6
    with machine.booted(web) as guest:
        guest.says(f"eth0 {own}/128")
        identity = ask(network.world(), f"[{own}]", "identity")
    (eth0,) = identity["interfaces"]
    assert (eth0["ipv4"], eth0["ipv6"]) == ([f"{web.address}/24"], [f"{own}/128"])
    assert _default(identity) == _gateway(network)


def test_a_container_with_nothing_but_ipv6(network: Lan, machine: Machine) -> None:
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
    """A Debian as it is without any configuration: cloud-init then has networkd use DHCP."""
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
        until(lambda: "configured" in guest.ask("networkctl"), 60, "networkd to configure the link")
        assert _told(guest.json("ip -j -6 address")) == {
            f"{web.nic().address6}/128",
            "fd00:30:1::200/128",
        }
        assert _routes(guest.json("ip -j -6 route")) == {
            ("default", _gateway(network)),
            ("fd00:99::/64", _gateway(network)),
            ("fd00:30:1::/64", None),
            ("fd00:98::/64", None),
        }
        # Search domains it takes from no DHCP server, unless it is told to (UseDomains=).
        resolver = guest.ask("cat /run/systemd/resolve/resolv.conf").splitlines()
        assert f"nameserver {WORLD6}" in resolver
        assert " 0% packet loss" in guest.ask(f"ping -c2 -W5 {WORLD6}")


def _told(links: Any) -> set[str]:
    """The addresses the guest was given, and any that it made itself."""
    found = (one for link in links for one in link["addr_info"] if one["scope"] == "global")
    return {f"{one['local']}/{one['prefixlen']}" for one in found}


def _routes(routes: Any) -> set[tuple[str, str | None]]:
    """Destination and gateway of what router advertisements brought."""
    return {(one["dst"], one.get("gateway")) for one in routes if one["protocol"] == "ra"}


def _default(identity: Any) -> str:
    """The default router of the demonstration guest."""
    (route,) = (one for one in identity["routes6"] if one.startswith("default "))
    return str(route.split()[2])


def _gateway(network: Lan) -> str:
    """The link-local address of the gateway."""
    addresses = network.host.addresses(network.bridge)
    (own,) = (one["local"] for one in addresses if one["scope"] == "link")
    return str(own)
