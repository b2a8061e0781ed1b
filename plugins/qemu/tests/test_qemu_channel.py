"""The channel to the guest's agent."""

from __future__ import annotations

from pathlib import Path

from vmnet_qemu.devices import channel

from vmnet.api import AGENT_CHANNEL, Balloon, Channel, Machine

SOCKET = Path("/run/vmnet/agent.sock")
MACHINE = Machine(
    *("web", 1 << 29, 1, "kvm", Path("/run/vmnet")),
    devices=(Channel("other", Path("/other")), Channel(AGENT_CHANNEL, SOCKET), Balloon()),
)


def test_the_agents_channel_is_found_by_its_name() -> None:
    assert channel.agent(MACHINE) == SOCKET
    assert channel.without_users_own(MACHINE, ("-device", "virtio-serial-pci")) == MACHINE


def test_a_channel_in_the_users_own_arguments_replaces_it() -> None:
    extra = ("-device", f"virtserialport,chardev=mine,name={AGENT_CHANNEL}")
    machine = channel.without_users_own(MACHINE, extra)
    assert channel.agent(machine) is None
    assert len(machine.devices) == 2
