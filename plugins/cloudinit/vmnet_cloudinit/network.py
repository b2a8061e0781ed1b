"""An identity as cloud-init's network-config, version 2. Pure functions.

The format is netplan's. Where the guest has netplan, cloud-init hands the file to it as it is, and
every key counts; its own renderers (networkd, NetworkManager, sysconfig, ifupdown) read the plain
ones and pass over the rest. So whatever the guest can't do without is said in plain keys.

https://cloudinit.readthedocs.io/en/latest/reference/network-config-format-v2.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from attrs import frozen

from vmnet.identity import Identity, Interface, Route
from vmnet.wiring import Wiring
from vmnet_cloudinit import addresses, routes
from vmnet_cloudinit.dns import Dns

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}", re.ASCII)


@frozen
class Network:
    """The guest's network, and what of the container's could not be put into words.

    :param config: what the file network-config holds
    :param not_carried: one line for each thing left out
    """

    config: dict[str, Any]
    not_carried: tuple[str, ...]

    @classmethod
    def of(cls, identity: Identity, wiring: Wiring) -> Network:
        found = tuple(routes.judge(identity))
        dns = Dns.of(identity, wiring)
        ethernets = {}
        for name, interface in _named(identity):
            own = [one.route for one in found if one.interface is interface and not one.obstacle]
            is_dns = interface is dns.interface
            extra = dns.routes if is_dns else ()
            servers = dns.config if is_dns else {}
            ethernets[name] = _ethernet(interface, [*extra, *own], servers)
        return cls(
            config={"version": 2, "ethernets": ethernets},
            not_carried=(*(one.line for one in found if one.obstacle), *dns.not_carried),
        )


def _named(identity: Identity) -> Iterator[tuple[str, Interface]]:
    """Each interface under its name; netplan makes file names of them, so odd ones get a number.

    The name is only an id. The guest's own name for the card stands: renaming a card that an
    initramfs has already brought up fails, and with it all of cloud-init's network stage.
    """
    for number, interface in enumerate(identity.interfaces):
        yield interface.name if _ID.fullmatch(interface.name) else f"net{number}", interface


def _ethernet(
    interface: Interface, found: list[Route], nameservers: dict[str, list[str]]
) -> dict[str, Any]:
    ethernet: dict[str, Any] = {
        "match": {"macaddress": interface.mac.lower()},
        "dhcp4": False,
        "dhcp6": False,
        "accept-ra": False,
        "mtu": interface.mtu,
    }
    if interface.addresses:
        own = map(interface.on_link, interface.addresses)
        ethernet["addresses"] = list(map(addresses.with_prefix, own))
    else:
        ethernet["optional"] = True  # nothing to wait for at boot
    if found:
        in_order = routes.in_order(found, interface)
        ethernet["routes"] = [routes.render(one, interface) for one in in_order]
    if nameservers:
        ethernet["nameservers"] = nameservers
    return ethernet
