"""Turn an identity into cloud-init's network-config, version 2. Pure functions.

The format is netplan's. If the guest has netplan, cloud-init passes the file on unchanged, and
netplan reads every key. cloud-init's own renderers (networkd, NetworkManager, sysconfig, ifupdown)
read the common keys and ignore the rest, so everything that the guest needs is in common keys.

https://cloudinit.readthedocs.io/en/latest/reference/network-config-format-v2.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from attrs import frozen

from vmnet.api import Identity, Interface, Route, Wiring
from vmnet_cloudinit import addresses, routes
from vmnet_cloudinit.dns import Dns

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}", re.ASCII)


@frozen
class Network:
    """The guest's network, and the parts of the container's network that it lacks.

    :param config: the content of the file network-config
    :param not_carried: a line for each missing part
    """

    config: dict[str, Any]
    not_carried: tuple[str, ...]

    @classmethod
    def of(cls, identity: Identity, wiring: Wiring) -> Network:
        found = tuple(routes.judge(identity))
        dns = Dns.of(identity, wiring)
        ethernets = {}
        for name, interface in _named(identity):
            own = [
                judged.route
                for judged in found
                if judged.interface is interface and not judged.obstacle
            ]
            is_dns = interface is dns.interface
            dns_routes = dns.routes if is_dns else ()
            servers = dns.config if is_dns else {}
            ethernets[name] = _ethernet(interface, [*dns_routes, *own], servers)
        return cls(
            config={"version": 2, "ethernets": ethernets},
            not_carried=(
                *(judged.line for judged in found if judged.obstacle),
                *dns.not_carried,
            ),
        )


def _named(identity: Identity) -> Iterator[tuple[str, Interface]]:
    """Yield each interface with an id; netplan makes file names of ids, so some get a number.

    The id does not rename the guest's NIC. Renaming a NIC that an initramfs has already brought up
    fails, and fails cloud-init's whole network stage.
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
        "mtu": interface.guest_mtu,
    }
    if interface.addresses:
        own = map(interface.on_link, interface.addresses)
        ethernet["addresses"] = list(map(addresses.with_prefix, own))
    else:
        ethernet["optional"] = True  # nothing to wait for at boot
    if found:
        in_order = routes.in_order(found, interface)
        ethernet["routes"] = [routes.render(route, interface) for route in in_order]
    if nameservers:
        ethernet["nameservers"] = nameservers
    return ethernet
