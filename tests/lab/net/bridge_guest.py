"""Connect a namespace to the bridge in a container, in place of a VM."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..command import run
from .namespace import Namespace, namespace

PORT = "guest0"


@contextmanager
def guest(
    container: Namespace, bridge: str, mac: str, *, name: str = "eth0", port: str = PORT
) -> Iterator[Namespace]:
    """
    Make a namespace whose NIC *name* is connected to a container's bridge and has no address.

    The NIC takes the place of a VM's: a DHCP client in the namespace gets the VM's lease.

    :param port: name of the bridge's end of the cable, different for each namespace
    """
    with namespace("guest") as made:
        peer = ("peer", "name", name, "netns", made.name, "address", mac)
        # A single request, because vmnet shuts a new NIC that is in no bridge.
        container.ip("link", "add", port, "master", bridge, "up", "type", "veth", *peer)
        # vmnet's static entry sends frames for the guest's MAC to the tap.
        entry = (mac, "dev", port, "master", "static")
        run("bridge", "-n", container.name, "fdb", "replace", *entry)
        made.ip("link", "set", name, "up")
        try:
            container.await_carriers(port)
            made.await_carriers(name)
            yield made
        finally:
            # Delete it now, because the kernel deletes devices later than their namespace.
            container.ip("link", "delete", port)
