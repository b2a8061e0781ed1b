"""The leases that the guest has taken, from dnsmasq's lease file."""

from __future__ import annotations

from ipaddress import ip_interface
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from vmnet_dnsmasq import leases

from vmnet import testing
from vmnet.api import Identity, Wiring

IDENTITY = testing.identity()
MAC = IDENTITY.interfaces[0].mac
ADDRESS = str(IDENTITY.interfaces[0].ipv4[0].ip)


def wiring(identity: Identity = IDENTITY) -> Wiring:
    return evolve(testing.wiring(identity), contain=True)


@pytest.mark.parametrize(
    ("text", "done", "detail"),
    [
        (None, False, "DHCP: the guest has no lease yet"),
        ("", False, "DHCP: the guest has no lease yet"),
        (f"0 {MAC} {ADDRESS} web 01:{MAC}\n", True, f"DHCP: {ADDRESS} is leased"),
        (f"0 {MAC} {ADDRESS} * *\n", True, f"DHCP: {ADDRESS} is leased"),
        ("0 06:00:00:00:00:09 172.17.0.9 * *\n", False, "DHCP: the guest has no lease yet"),
    ],
)
def test_the_guests_lease_is_found_by_its_mac(
    tmp_path: Path, text: str | None, done: bool, detail: str
) -> None:
    if text is not None:
        (tmp_path / "dnsmasq.leases").write_text(text)
    (found,) = leases.handovers(tmp_path, IDENTITY, wiring())
    assert (found.interface, found.done, found.detail) == ("eth0", done, detail)


def test_without_containment_no_leases_are_reported(tmp_path: Path) -> None:
    assert leases.handovers(tmp_path, IDENTITY, evolve(wiring(), contain=False)) == ()


def test_ipv6_is_not_recorded(tmp_path: Path) -> None:
    (interface,) = IDENTITY.interfaces
    own = evolve(interface, addresses=(ip_interface("fd00::2/64"),))
    identity = evolve(IDENTITY, interfaces=(own,))
    (found,) = leases.handovers(tmp_path, identity, wiring(identity))
    assert (found.done, found.detail.split(":")[0]) == (None, "DHCPv6")


@given(st.text())
def test_any_content_of_the_file_is_read(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.mktemp("leases") / "dnsmasq.leases"
    path.write_text(text, errors="replace")
    leases.taken(path)
