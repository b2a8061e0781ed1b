"""Plan the bridge's own address: link-local, a spare address of the subnet, or the user's."""

from __future__ import annotations

import itertools
from ipaddress import IPv4Address, IPv4Interface

from attrs import evolve

from vmnet.api import (
    BRIDGE_ADDRESS,
    Identity,
    Interface,
    Local,
    Port,
    Requirements,
    SettingsError,
)
from vmnet.strategies.bridge import addressing

_SPARES = 8  # replacements for a bridge's address


def with_addresses(
    port: Port,
    setting: str | IPv4Interface,
    interface: Interface,
    identity: Identity,
    requirements: Requirements,
) -> Port:
    """Return the port with an address of the subnet, its replacements, and the way out.

    Return it unchanged if a link-local address is enough. An address from the user has no
    replacements.

    :param setting: VMNET_BRIDGE_ADDRESS
    """
    bridge = port.local
    assert bridge is not None
    if isinstance(setting, IPv4Interface):
        _require_free(setting, identity)
        own = evolve(bridge, address=setting, link_local=bridge.address)
    elif setting == "spare" or (setting == "auto" and requirements.dns):
        candidates = addressing.spare_candidates(interface, identity)
        own = _with_spares(bridge, candidates, interface.name, later=requirements.claims)
    else:
        return port
    return evolve(port, local=evolve(own, gateway=_gateway(interface) if own.candidates else None))


def _with_spares(
    bridge: Local, candidates: tuple[IPv4Interface, ...], uplink: str, *, later: bool
) -> Local:
    """Return the bridge with a free address and its replacements, or with the candidates.

    :param later: a daemon finds a free candidate, after the start
    """
    from vmnet.api import arp, capabilities, step

    if not candidates:
        return bridge
    if later:
        if not capabilities.has("NET_RAW"):
            raise arp.forbidden(uplink)
        return evolve(bridge, spares=candidates)
    with step(f"look for a free address on {uplink}"):
        free = arp.first_free(uplink, [candidate.ip for candidate in candidates])
    remaining = itertools.dropwhile(lambda candidate: candidate.ip != free, candidates)
    if not (found := tuple(itertools.islice(remaining, 1 + _SPARES))):
        return bridge
    return evolve(bridge, address=found[0], link_local=bridge.address, spares=found[1:])


def _require_free(address: IPv4Interface, identity: Identity) -> None:
    for interface in identity.interfaces:
        gateways = {route.gateway for route in interface.routes}
        if address.ip in {own.ip for own in interface.ipv4} | gateways:
            owner = "a gateway" if address.ip in gateways else "the guest"
            raise SettingsError(
                f"{BRIDGE_ADDRESS.name}={address} is an address of {owner} on {interface.name}",
                "choose a free address of the subnet, or VMNET_BRIDGE_ADDRESS=spare",
            )


def _gateway(interface: Interface) -> IPv4Address | None:
    route = interface.default_route(4)
    return route.gateway if route and isinstance(route.gateway, IPv4Address) else None
