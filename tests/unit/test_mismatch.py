"""Values of a wrong type, at any depth of the data types."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import Any

import attrs
import pytest

from vmnet import testing
from vmnet.model.delivery import Delivery, File
from vmnet.model.mismatch import mismatch
from vmnet.testing import samples

evolve: Any = attrs.evolve  # accepts values of wrong types
IDENTITY = testing.identity()
WIRING = testing.wiring(IDENTITY)


def with_interface(**changes: Any) -> Any:
    return evolve(IDENTITY, interfaces=(evolve(IDENTITY.interfaces[0], **changes),))


@pytest.mark.parametrize("identity", samples.PLAIN.values(), ids=samples.PLAIN)
def test_right_types(identity: Any) -> None:
    wiring = testing.wiring(identity)
    assert mismatch(identity, "Identity") == ""
    assert mismatch((identity, wiring), "the result") == ""


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (evolve(IDENTITY, hostname=5), "hostname is int, not str"),
        (evolve(IDENTITY, hostname=None), "hostname is None, not str"),
        (evolve(IDENTITY, resolver="192.0.2.1"), "resolver is str, not Resolver"),
        (evolve(IDENTITY, ntp=[]), "ntp is list, not tuple[IPv4Address | IPv6Address, ...]"),
        (with_interface(mtu=True), "interfaces[0].mtu is bool, not int"),
        (with_interface(router="fe80::1"), "interfaces[0].router is str, not Router | None"),
        (
            with_interface(addresses=("10.1.0.9/24",)),
            "interfaces[0].addresses[0] is str, not IPv4Interface | IPv6Interface",
        ),
        (
            evolve(IDENTITY, ntp=(IPv4Interface("192.0.2.1/24"),)),
            "ntp[0] is IPv4Interface, not IPv4Address | IPv6Address",
        ),
        (
            with_interface(addresses=(IPv4Address("10.1.0.9"),)),
            "interfaces[0].addresses[0] is IPv4Address, not IPv4Interface | IPv6Interface",
        ),
        (evolve(WIRING, nameserver="10.0.0.1"), "nameserver is str, not IPv4Address | None"),
        (
            Delivery("example", (File(Path("/run/vmnet/a"), "a secret"),)),  # type: ignore[arg-type]
            "files[0].content is str, not bytes",
        ),
    ],
)
def test_a_wrong_type(value: Any, message: str) -> None:
    """The message does not contain the value, which can be secret."""
    assert mismatch(value, "it") == f"it.{message}"


def test_the_place_in_a_tuple() -> None:
    wrong = evolve(IDENTITY, domain=None)
    assert mismatch((IDENTITY, wrong), "the result") == "the result[1].domain is None, not str"
