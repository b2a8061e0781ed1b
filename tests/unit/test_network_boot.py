"""A boot from the network that can't work is refused."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve

from vmnet import testing
from vmnet.errors import MachineError
from vmnet.model.identity import Identity
from vmnet.model.wiring import UserMode, Wiring
from vmnet.planning import network_boot

IDENTITY = testing.identity()
ONLY_IPV6 = testing.identity(
    testing.interface("2001:db8::2/64"), testing.interface("192.0.2.2/24", name="eth1")
)


def in_user_mode() -> Wiring:
    wiring = testing.wiring(IDENTITY)
    return evolve(wiring, ports=(evolve(wiring.ports[0], path=UserMode("passt")),))


def require(
    identity: Identity = IDENTITY,
    wiring: Wiring | None = None,
    *,
    outside: bool = False,
    **environ: str,
) -> None:
    settings = testing.settings({"VMNET_BOOT": "disk,network", **environ})
    network_boot.require(settings, identity, wiring or testing.wiring(identity), outside=outside)


def test_a_dhcp_server_answers() -> None:
    require()
    require(wiring=testing.wiring(IDENTITY, contain=False), outside=True)
    require(ONLY_IPV6, outside=True)


@pytest.mark.parametrize(
    "environ", [{"VMNET_BOOT": "disk"}, {"VMNET_KERNEL": "/vmlinuz"}], ids=["disk", "kernel"]
)
def test_other_boots_need_none(environ: dict[str, Any]) -> None:
    require(wiring=in_user_mode(), **environ)
    require(ONLY_IPV6, testing.wiring(ONLY_IPV6, contain=False), **environ)


def test_nothing_answers() -> None:
    unserved = testing.wiring(IDENTITY, contain=False)
    with pytest.raises(MachineError, match="no strategy of VMNET_IPAM=cloudinit answers") as caught:
        require(wiring=unserved, VMNET_IPAM="cloudinit")
    assert caught.value.message.startswith("VMNET_BOOT=disk,network: ")
    assert "add dnsmasq to VMNET_IPAM" in caught.value.hint


@pytest.mark.parametrize("outside", [False, True])
def test_a_user_mode_network_names_no_boot_file(outside: bool) -> None:
    with pytest.raises(MachineError, match="passt, a user-mode network, names no boot file"):
        require(wiring=in_user_mode(), outside=outside)


def test_only_the_first_nic_boots_and_only_by_ipv4() -> None:
    message = "eth0, the only NIC that boots, has no IPv4 address"
    with pytest.raises(MachineError, match=message) as caught:
        require(ONLY_IPV6)
    assert "VMNET_INTERFACES" in caught.value.hint
