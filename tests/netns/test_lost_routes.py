"""Routes through interfaces that the guest does not get, such as a VPN's."""

from __future__ import annotations

import pytest

from tests.lab.net.lan import Lan
from tests.lab.net.namespace import Namespace
from tests.netns.conftest import Vmnet
from vmnet.errors import CaptureError


@pytest.fixture
def web(network: Lan) -> Namespace:
    """A container with eth0 and a tunnel, as next to a VPN sidecar."""
    made = network.container("web", ipv6=True)
    made.ip("tuntap", "add", "tun0", "mode", "tun")
    made.ip("address", "add", "10.8.0.2/24", "dev", "tun0")
    made.sysctl(net__ipv6__conf__tun0__disable_ipv6=0)
    made.ip("-6", "address", "add", "fd08::2/64", "dev", "tun0", "nodad")
    made.ip("link", "set", "tun0", "up")
    return made


@pytest.mark.parametrize(
    "added",
    [
        "0.0.0.0/1 dev tun0",  # OpenVPN's redirect-gateway
        "10.9.0.0/16 via 10.8.0.1",
        "default dev tun0 table 51820",  # wg-quick
        "fd09::/64 dev tun0",
    ],
)
def test_a_start_refuses_to_bypass_a_vpn(web: Namespace, vmnet: Vmnet, added: str) -> None:
    web.ip(*(["-6"] if ":" in added else []), "route", "add", *added.split())
    before = web.dump()
    for command in ("plan", "run", "check"):
        ended = vmnet(web, command)
        assert ended.returncode == (1 if command == "check" else CaptureError.exit_code)
        said = " ".join((ended.stdout + ended.stderr).split())
        destination = added.split()[0].replace("default", "0.0.0.0/0")
        assert f"the guest can't have the route to {destination}" in said
        assert "VMNET_LOST_ROUTES=accept" in said
    assert web.dump() == before


def test_an_accepted_bypass_is_named(web: Namespace, vmnet: Vmnet) -> None:
    web.ip("route", "add", "0.0.0.0/1", "dev", "tun0")
    plan = vmnet(web, "plan", VMNET_LOST_ROUTES="accept")
    assert plan.returncode == 0, plan.stderr
    lost = ("the route to 0.0.0.0/1 through tun0", "the route to 10.8.0.0/24 through tun0")
    named = plan.stdout.partition("Not carried to the guest")[2].splitlines()
    for line in lost:
        assert line in named
        assert f"not carried: {line}" in plan.stderr


def test_a_route_that_the_guest_does_not_bypass_is_named(web: Namespace, vmnet: Vmnet) -> None:
    """Without a default route, the guest reaches the tunnel's networks by no other way."""
    web.ip("route", "del", "default")
    web.ip("route", "add", "10.9.0.0/16", "via", "10.8.0.1")
    plan = vmnet(web, "plan")
    assert plan.returncode == 0, plan.stderr
    assert "the route to 10.9.0.0/16 via 10.8.0.1 through tun0\n" in plan.stdout


def test_a_less_preferred_route_takes_no_traffic(web: Namespace, vmnet: Vmnet) -> None:
    """The container uses the same routes as the guest, next to a wider default route."""
    web.ip("route", "add", "10.9.0.0/16", "dev", "eth0")
    for lost in ("default", "10.9.0.0/16"):
        web.ip("route", "add", lost, "dev", "tun0", "metric", "500")
    plan = vmnet(web, "plan")
    assert plan.returncode == 0, plan.stderr
    for lost in ("0.0.0.0/0", "10.9.0.0/16"):
        assert f"the route to {lost} through tun0\n" in plan.stdout
