"""Plan the container's own address in a subnet: a spare address, or the user's."""

from __future__ import annotations

import itertools
from ipaddress import IPv4Address, IPv4Interface

from attrs import evolve

from vmnet.api import (
    BRIDGE_ADDRESS,
    Identity,
    Interface,
    Local,
    Requirements,
    SettingsError,
    frozen,
)
from vmnet.strategies.ports import addressing

_SPARES = 8  # replacements for an address


@frozen
class Spare:
    """An address of the NIC's subnet for the container itself, and its replacements.

    :param address: None if a daemon takes the first free replacement after QEMU's start
    :param replacements: for ``address``, if another machine claims it
    :param gateway: the way out of the subnet
    """

    address: IPv4Interface | None
    replacements: tuple[IPv4Interface, ...] = ()
    gateway: IPv4Address | None = None

    def on(self, own: Local) -> Local:
        """Return an end of the link, which has a link-local address, with this address as well."""
        if self.address is None:
            return evolve(own, spares=self.replacements, gateway=self.gateway)
        return evolve(
            own,
            address=self.address,
            link_local=own.address,
            spares=self.replacements,
            gateway=self.gateway,
        )

    @property
    def alone(self) -> Spare:
        """The addresses without subnet and gateway, for an end that reaches only the guest."""
        address = self.address and IPv4Interface(self.address.ip)
        return Spare(address, tuple(IPv4Interface(spare.ip) for spare in self.replacements))


def spare(
    setting: str | IPv4Interface,
    interface: Interface,
    identity: Identity,
    requirements: Requirements,
) -> Spare | None:
    """Return the address, or None if a link-local address is enough or no address is free.

    An address from the user has no replacements.

    :param setting: VMNET_BRIDGE_ADDRESS
    """
    gateway = gateway_of(interface)
    if isinstance(setting, IPv4Interface):
        _require_free(setting, identity)
        return Spare(setting, gateway=gateway)
    if setting == "spare" or (setting == "auto" and requirements.dns):
        candidates = addressing.spare_candidates(interface, identity)
        if requirements.claims:
            return _later(candidates, interface, gateway)
        return _now(candidates, interface, gateway)
    return None


def _later(
    candidates: tuple[IPv4Interface, ...], interface: Interface, gateway: IPv4Address | None
) -> Spare | None:
    from vmnet.api import arp, capabilities

    if not candidates:
        return None
    if not capabilities.has("NET_RAW"):
        raise arp.forbidden(interface.name)
    return Spare(None, candidates, gateway)


def _now(
    candidates: tuple[IPv4Interface, ...], interface: Interface, gateway: IPv4Address | None
) -> Spare | None:
    """Return the first candidate that no machine on the link uses."""
    from vmnet.api import arp, step

    if not candidates:
        return None
    with step(f"look for a free address on {interface.name}"):
        free = arp.first_free(interface.name, [candidate.ip for candidate in candidates])
    remaining = itertools.dropwhile(lambda candidate: candidate.ip != free, candidates)
    found = tuple(itertools.islice(remaining, 1 + _SPARES))
    return Spare(found[0], found[1:], gateway) if found else None


def _require_free(address: IPv4Interface, identity: Identity) -> None:
    for interface in identity.interfaces:
        gateways = {route.gateway for route in interface.routes}
        if address.ip in {own.ip for own in interface.ipv4} | gateways:
            owner = "a gateway" if address.ip in gateways else "the guest"
            raise SettingsError(
                f"{BRIDGE_ADDRESS.name}={address} is an address of {owner} on {interface.name}",
                "choose a free address of the subnet, or VMNET_BRIDGE_ADDRESS=spare",
            )


def gateway_of(interface: Interface) -> IPv4Address | None:
    """Return the gateway of an interface's IPv4 default route; None without one."""
    route = interface.default_route(4)
    return route.gateway if route and isinstance(route.gateway, IPv4Address) else None
