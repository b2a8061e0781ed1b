"""A bridge's addresses, and the address from which vmnet asks the guest."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface

import pytest
from attrs import evolve

from tests.unit import running
from vmnet.net import ipv4
from vmnet.running import local_state

NIC = evolve(running.NIC, local_address="172.17.255.254")


@pytest.mark.parametrize(
    ("own", "asker"),
    [
        (("172.17.255.254/16", "169.254.1.2/32"), "172.17.255.254"),
        (("169.254.1.2/32", "172.17.255.253/16"), "172.17.255.253"),
        (("169.254.1.2/32",), "169.254.1.2"),
        ((), "172.17.255.254"),
    ],
)
def test_a_question_comes_from_an_address_that_the_bridge_has(
    own: tuple[str, ...], asker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer to an address that the bridge has lost would go to another machine."""
    monkeypatch.setattr(ipv4, "addresses", lambda _bridge: tuple(map(IPv4Interface, own)))
    assert local_state.source(NIC) == IPv4Address(asker)


@pytest.mark.parametrize(
    ("own", "trouble"),
    [
        (("169.254.1.2/32",), "br0 has no spare address: until it has one, names outside the"),
        (("169.254.1.2/32", "172.17.255.253/16"), ""),
    ],
)
def test_a_spare_address_that_the_bridge_should_take(
    own: tuple[str, ...], trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ipv4, "addresses", lambda _bridge: tuple(map(IPv4Interface, own)))
    nic = evolve(NIC, local_address="169.254.1.2", nameservers=("169.254.1.2",), takes_spare=True)
    state = local_state.read(nic)
    assert state.trouble.startswith(trouble)
    assert bool(state.trouble) == bool(trouble)
    assert not state.is_deaf
