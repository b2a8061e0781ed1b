"""The IPAM strategy ``dnsmasq``: a DHCP and DNS server for one VM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vmnet.api import (
    RUN_DIR,
    Delivery,
    DeliveryError,
    Handover,
    Identity,
    Requirements,
    Setting,
    Settings,
    Wiring,
    hookimpl,
)
from vmnet_dnsmasq import rows


@hookimpl
def vmnet_settings() -> Sequence[Setting[Any]]:
    return rows.ROWS


@hookimpl
def vmnet_ipam_requirements(settings: Settings, identity: Identity) -> Requirements:
    """Contain the guest's DHCP, which dnsmasq answers; require an address if DNS is forwarded."""
    if not any(interface.addresses for interface in identity.interfaces):
        names = ", ".join(interface.name for interface in identity.interfaces)
        raise DeliveryError(
            f"no IP address to hand over by DHCP: {names} has none",
            "connect the container to a network that assigns addresses, or set NO_DHCP=true if "
            "another system serves DHCP",
        )
    from vmnet_dnsmasq.config import serves_dns

    return Requirements(contain=True, dns=serves_dns(identity), claims=True)


@hookimpl
def vmnet_ipam_deliver(settings: Settings, identity: Identity, wiring: Wiring) -> Delivery:
    from vmnet_dnsmasq import service

    return service.deliver(settings, identity, wiring)


@hookimpl
def vmnet_forwarder(settings: Settings, identity: Identity, wiring: Wiring) -> Delivery:
    """Deliver the same service; without containment it forwards DNS and leases nothing."""
    from vmnet_dnsmasq import service

    return service.deliver(settings, identity, wiring)


@hookimpl
def vmnet_ipam_status(
    settings: Settings, identity: Identity, wiring: Wiring
) -> tuple[Handover, ...]:
    from vmnet_dnsmasq import leases

    return leases.handovers(settings[RUN_DIR], identity, wiring)
