"""The parts of an identity that nodhcp reports as not carried."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from vmnet_nodhcp import vmnet_ipam_deliver

from vmnet import testing


@pytest.mark.parametrize(
    ("environ", "variables"),
    [
        ({"NO_DHCP": "true"}, []),
        (
            {"NO_DHCP": "true", "VMNET_NTP": "192.0.2.1", "VMNET_DNS": "192.0.2.2"},
            ["VMNET_DNS", "VMNET_NTP"],
        ),
        ({"VMNET_IPAM": "nodhcp", "VMNET_NTP": "192.0.2.1"}, ["VMNET_NTP"]),
        ({"VMNET_IPAM": "cloudinit,nodhcp", "VMNET_NTP": "192.0.2.1"}, []),
    ],
)
def test_settings_for_the_guest_without_effect_are_named(
    environ: Mapping[str, str], variables: list[str]
) -> None:
    identity = testing.identity()
    delivery = vmnet_ipam_deliver(testing.settings(environ), identity, testing.wiring(identity))
    assert [line.partition(":")[0] for line in delivery.not_carried] == variables
