"""The arguments for channels into the guest (virtio-serial). Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from attrs import evolve

from vmnet.api import AGENT_CHANNEL, Channel, Device, Listener, Machine
from vmnet_qemu.quoting import escape


def without_users_own(machine: Machine, extra: Sequence[str]) -> Machine:
    """Return the machine without the agent's channel if the user's arguments add one.

    QEMU refuses a second channel of the same name.
    """
    if not any(AGENT_CHANNEL in word for word in extra):
        return machine
    devices = tuple(device for device in machine.devices if not _is_agents(device))
    return evolve(machine, devices=devices)


def agent(machine: Machine) -> Path | None:
    """Return the socket of the agent's channel, if the machine has one."""
    channels = (device for device in machine.devices if isinstance(device, Channel))
    return next((channel.socket for channel in channels if _is_agents(channel)), None)


def _is_agents(device: Device) -> bool:
    return isinstance(device, Channel) and device.name == AGENT_CHANNEL


def controller(place: str) -> Iterator[str]:
    yield from ("-device", f"virtio-serial-pci,id=channels,{place}")


def words(channel: Channel, number: int, listener: Listener) -> Iterator[str]:
    """Yield the arguments of a channel, whose socket vmnet creates."""
    socket = f"socket,id=channel{number},fd={listener.fd},server=on,wait=off"
    yield from ("-chardev", socket)
    name = f"name={escape(channel.name)}"
    yield from ("-device", f"virtserialport,bus=channels.0,chardev=channel{number},{name}")
