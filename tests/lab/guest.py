"""A guest without a VM: a namespace on a cable to the bridge inside a container."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .command import run
from .namespace import Namespace, namespace

PORT = "guest0"


@contextmanager
def guest(
    container: Namespace, bridge: str, mac: str, *, name: str = "eth0", port: str = PORT
) -> Iterator[Namespace]:
    """
    A namespace whose *name* is plugged into a container's bridge and has nothing but a MAC.

    It stands where a VM's NIC would: what a DHCP client gets here, the VM's own would get.

    :param port: the bridge's end of the cable; a second namespace takes another one
    """
    with namespace("guest") as made:
        peer = ("peer", "name", name, "netns", made.name, "address", mac)
        container.ip("link", "add", port, "type", "veth", *peer)
        container.ip("link", "set", port, "master", bridge, "up")
        # The bridge has it that a guest of this MAC is behind the tap.
        entry = (mac, "dev", port, "master", "static")
        run("bridge", "-n", container.name, "fdb", "replace", *entry)
        made.ip("link", "set", name, "up")
        try:
            yield made
        finally:
            # At once: with its namespace it would go when the kernel comes to it.
            container.ip("link", "delete", port)
