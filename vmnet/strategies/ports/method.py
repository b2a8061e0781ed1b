"""The part of a port's plan in which the strategies with a tap differ."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Interface
from typing import Any

from vmnet.api import Bridge, Interface, Local, Port, Redirect, frozen
from vmnet.strategies.ports.own_address import Spare


@frozen
class Method:
    """How a strategy connects the uplink and the tap of a port.

    :param devices: the prefixes of its devices' names, other than the tap's
    :param connect: return what lies between the uplink and the tap, and the container's own end,
        for an open rtnetlink socket, the port's number, its interface and the own end's link-local
        address
    :param give: return the port with an address of the subnet, for its number and interface
    """

    devices: tuple[str, ...]
    connect: Callable[[Any, int, Interface, IPv4Interface], tuple[Bridge | Redirect, Local]]
    give: Callable[[Port, int, Interface, Spare], Port]


Choose = Callable[[Interface], Method]
