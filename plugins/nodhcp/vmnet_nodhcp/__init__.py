"""The IPAM strategy ``nodhcp``: another system gives the guest its address, through the bridge.

Examples are Rancher, which allocates from its own database and serves DHCP on its own network, and
a bridge to the host's network. The strategy delivers nothing and requires no containment.
"""

from __future__ import annotations

from collections.abc import Iterator

from vmnet.api import (
    DNS,
    IPAM,
    NTP,
    Delivery,
    Handover,
    Identity,
    Requirements,
    Settings,
    Wiring,
    hookimpl,
    shown,
)


@hookimpl
def vmnet_ipam_requirements(settings: Settings, identity: Identity) -> Requirements:
    return Requirements(any_address=True)


@hookimpl
def vmnet_ipam_deliver(settings: Settings, identity: Identity, wiring: Wiring) -> Delivery:
    """Deliver nothing: the other system recognises the guest by the container's MAC."""
    return Delivery("nodhcp", not_carried=(*_unused(settings), *_not_carried(identity)))


@hookimpl
def vmnet_ipam_status(
    settings: Settings, identity: Identity, wiring: Wiring
) -> tuple[Handover, ...]:
    text = "another system gives the guest its address"
    return tuple(Handover(interface.name, None, text) for interface in identity.interfaces)


def _unused(settings: Settings) -> Iterator[str]:
    """Yield the settings for the guest that have no effect, unless another strategy uses them."""
    if not settings.is_given(IPAM) or settings[IPAM] == ("nodhcp",):
        for row in (DNS, NTP):
            if settings.is_given(row):
                yield f"{row.name}: the guest asks the other system"


def _not_carried(identity: Identity) -> Iterator[str]:
    """Yield the names that exist only in this container, so that no other system knows them."""
    if identity.resolver.is_local:
        yield "the container's own resolver, which the guest cannot reach"
    if identity.hosts:
        names = ", ".join(shown(host.names[0]) for host in identity.hosts)
        yield f"links and added hosts: {names}"
