"""What a delivery refuses, and what it warns of."""

from __future__ import annotations

from pathlib import Path

import pytest
from vmnet_dnsmasq import service
from vmnet_dnsmasq.rows import ROWS

from vmnet import testing
from vmnet.api import DeliveryError, Identity
from vmnet.testing import resolver

FORWARDED = testing.identity(resolver=resolver("127.0.0.11"))
ASKED = testing.identity(resolver=resolver("192.0.2.53"))


@pytest.mark.parametrize(
    ("identity", "mode", "is_reported"),
    [(FORWARDED, 0o700, True), (FORWARDED, 0o711, False), (ASKED, 0o700, False)],
)
def test_a_closed_folder_is_reported_if_names_are_served(
    identity: Identity,
    mode: int,
    is_reported: bool,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=mode)
    nameserver = "172.17.255.254/16" if identity is FORWARDED else ""
    wiring = testing.wiring(identity, nameserver=nameserver)
    settings = testing.settings({"VMNET_RUN_DIR": str(closed / "run")}, *ROWS)
    service.deliver(settings, identity, wiring)
    warnings = [record for record in caplog.records if f"can't enter {closed}, " in record.message]
    assert [record.hint for record in warnings] == (  # type: ignore[attr-defined]
        [f"`chmod o+x {closed}`, or name another folder, such as /run/vmnet"] if is_reported else []
    )


def test_a_boot_from_the_network_without_a_boot_file_is_refused() -> None:
    identity = testing.identity()
    booting = {"VMNET_BOOT": "network"}
    with pytest.raises(DeliveryError, match="VMNET_BOOT=network: dnsmasq does not know") as caught:
        service.deliver(testing.settings(booting, *ROWS), identity, testing.wiring(identity))
    assert "NO_DHCP=true" in caught.value.hint
    named = testing.settings({**booting, "VMNET_BOOT_URL": "tftp://192.0.2.1/x"}, *ROWS)
    config = service.deliver(named, identity, testing.wiring(identity)).files[0].content
    assert b'dhcp-boot=tag:br0,"x",,192.0.2.1' in config


@pytest.mark.parametrize(
    ("boot", "lines"),
    [
        (
            {"VMNET_BOOT": "disk"},
            (
                "VMNET_BOOT_URL: without network in VMNET_BOOT, only a boot program of the guest's "
                "own asks for it",
            ),
        ),
        ({"VMNET_BOOT": "disk,network"}, ()),
    ],
)
def test_a_boot_file_without_a_boot_from_the_network_is_reported(
    boot: dict[str, str], lines: tuple[str, ...]
) -> None:
    identity = testing.identity()
    settings = testing.settings({**boot, "VMNET_BOOT_URL": "tftp://192.0.2.1/x"}, *ROWS)
    delivery = service.deliver(settings, identity, testing.wiring(identity))
    assert delivery.not_carried == lines
