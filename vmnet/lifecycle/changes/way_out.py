"""The default route of the container itself, by which its DNS forwarder reaches the network.

An engine moves the default route when a network is connected or disconnected. The new route is then
the guest's, or leads to a blocked NIC.
"""

from __future__ import annotations

import logging
import socket
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

from vmnet.model.base import frozen
from vmnet.net import default_route

if TYPE_CHECKING:
    from vmnet.model.wiring import Port, Wiring

_log = logging.getLogger(__name__)


@frozen
class WayOut:
    """The planned default route.

    :param uplink: the NIC through which the device reaches the network
    :param device: the container's own device on a network of the guest
    :param subnet: of the address that the device has, or takes
    """

    uplink: str
    device: str
    gateway: str
    subnet: str

    @property
    def is_there(self) -> bool:
        """Whether the container has this default route, preferred or not."""
        return (self.device, IPv4Address(self.gateway).packed) in default_route.defaults()

    @property
    def is_lost(self) -> bool:
        """Whether the device has its address, but the preferred default route is another."""
        subnet, found = IPv4Network(self.subnet), default_route.routes()
        if not any((name, to) == (self.device, subnet[0].packed) for name, to, _ in found):
            return False
        wanted = self.device, IPv4Address(self.gateway).packed
        return default_route.defaults()[:1] != [wanted]


def plan(wiring: Wiring) -> WayOut | None:
    """Return the container's planned default route; None if it has none."""
    for port in wiring.ports:
        own = port.way_out
        if own is not None and own.gateway is not None:
            subnet = own.candidates[0].network
            return WayOut(port.uplink, own.device, str(own.gateway), str(subnet))
        if (planned := _of_kept_ports(port)) is not None:
            return planned
    return None


def _of_kept_ports(port: Port) -> WayOut | None:
    """Return the default route of a bridge that serves kept ports.

    That of a redirected NIC goes with the NIC.
    """
    from vmnet.model.wiring import Bridge

    if port.kept is None or port.local is None or not isinstance(port.path, Bridge):
        return None
    routes = port.kept.routes
    for default in routes:
        gateway = default.gateway
        if default.is_default and isinstance(gateway, IPv4Address):
            for route in routes:
                if route.gateway is None and gateway in route.destination:
                    subnet = str(route.destination)
                    return WayOut(port.uplink, port.local.device, str(gateway), subnet)
    return None


def withdraw(planned: WayOut) -> None:
    """Remove the default route while its NIC is gone: an engine could not add another one.

    :raises VmnetError: the kernel refused
    """
    from vmnet.net import rtnl
    from vmnet.net.kernel_errors import step

    gateway = IPv4Address(planned.gateway).packed
    with step(f"remove the default route of {planned.device}"), rtnl.Rtnl() as kernel:
        while planned.is_there:  # an engine may have added another
            default_route.delete(kernel, socket.if_nametoindex(planned.device), gateway)


def put_right(planned: WayOut) -> None:
    """Make the planned default route the preferred one, and log this.

    If there is no other, it gets a metric: Docker adds its own without one when a network goes or
    comes, and would find that such a route exists.

    :raises VmnetError: the kernel refused
    """
    from vmnet.net import rtnl
    from vmnet.net.kernel_errors import step

    gateway = IPv4Address(planned.gateway)
    is_outside = gateway not in IPv4Network(planned.subnet)
    with step(f"set the default route of {planned.device}"), rtnl.Rtnl() as kernel:
        index = socket.if_nametoindex(planned.device)
        change = default_route.prefer if default_route.defaults() else default_route.add_last
        change(kernel, index, gateway.packed, onlink=is_outside)
    _log.info(
        "%s has the container's default route again, by %s",
        planned.device,
        gateway,
        extra={"event": "network.way_out_restored"},
    )
