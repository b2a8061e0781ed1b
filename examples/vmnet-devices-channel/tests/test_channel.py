"""Serial channels: the devices of the setting."""

from __future__ import annotations

from pathlib import Path

import pytest
import vmnet_devices_channel as channel

from vmnet import testing
from vmnet.api import AGENT_CHANNEL, Channel, SettingsError
from vmnet.testing.conformance import Conformance

NAMES = "org.example.control.0,org.example.log.0"


class TestConformance(Conformance):
    plugin = "channel"

    @pytest.fixture
    def vmnet_environ(self) -> dict[str, str]:
        return {"VMNET_CHANNEL_NAMES": NAMES}


def devices(**environ: str) -> tuple[Channel, ...]:
    return channel.vmnet_devices(testing.settings(environ, *channel.vmnet_settings()))


def test_a_channel_for_each_name() -> None:
    run_dir = "/run/" + "x" * 85  # as long as it may be
    first, second = devices(VMNET_CHANNEL_NAMES=NAMES, VMNET_RUN_DIR=run_dir)
    assert first == Channel("org.example.control.0", Path(run_dir, "channel0.sock"))
    assert (second.name, second.socket.name) == ("org.example.log.0", "channel1.sock")
    assert len(str(second.socket)) <= 107
    assert devices() == ()


@pytest.mark.parametrize("names", ["a b", "a,a", "../a", "x" * 61, f"a,{AGENT_CHANNEL}"])
def test_other_names_are_refused(names: str) -> None:
    with pytest.raises(SettingsError, match=r"^VMNET_CHANNEL_NAMES=.* is not a"):
        devices(VMNET_CHANNEL_NAMES=names)
