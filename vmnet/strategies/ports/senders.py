"""Plan the source addresses that the guest may use."""

from __future__ import annotations

import logging
from ipaddress import IPv4Address, IPv6Address

from vmnet.api import Interface, Port, Requirements, Sender

# A filter has at most 4096 instructions, enough for about 220 IPv6 addresses.
_MAX_ADDRESSES = 200
_log = logging.getLogger(__name__)


def owned(
    interface: Interface, requirements: Requirements
) -> tuple[IPv4Address | IPv6Address, ...]:
    """Return the interface's addresses, unless the guest may have other addresses."""
    if requirements.any_address:
        return ()
    if len(interface.addresses) > _MAX_ADDRESSES:
        _log.warning(
            "%s has more than %d addresses, so the guest may send from any address",
            interface.name,
            _MAX_ADDRESSES,
            extra={"event": "filter.limited"},
        )
        return ()
    return tuple(own.ip for own in interface.addresses)


def sender(interface: Interface, port: Port) -> Sender:
    """Return the source addresses that the guest may use: any address, if none is known."""
    router = interface.router
    gateways = (route.gateway for route in interface.routes_of(6))
    known = (*gateways, *((router.address, router.gateway) if router else ()))
    routers = dict.fromkeys(
        address for address in known if isinstance(address, IPv6Address) and address.is_link_local
    )
    return Sender(port.owned or None, tuple(routers))
