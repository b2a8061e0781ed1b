"""The arguments for channels into the guest (virtio-serial). Pure functions."""

from __future__ import annotations

from collections.abc import Iterator

from vmnet.api import Channel, Listener
from vmnet_qemu.quoting import escape


def controller(place: str) -> Iterator[str]:
    yield from ("-device", f"virtio-serial-pci,id=channels,{place}")


def words(channel: Channel, number: int, listener: Listener) -> Iterator[str]:
    """Yield the arguments of a channel, whose socket vmnet creates."""
    socket = f"socket,id=channel{number},fd={listener.fd},server=on,wait=off"
    yield from ("-chardev", socket)
    name = f"name={escape(channel.name)}"
    yield from ("-device", f"virtserialport,bus=channels.0,chardev=channel{number},{name}")
