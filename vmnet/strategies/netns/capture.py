"""The ``netns`` capture strategy: reads the identity from the network namespace of this process."""

from __future__ import annotations

import logging
import os
from typing import Any

from attrs import evolve

from vmnet.api import (
    DNS,
    HOST_NETWORK,
    INTERFACES,
    NTP,
    CaptureError,
    Identity,
    Interface,
    Resolver,
    Settings,
    hookimpl,
    resolver,
)
from vmnet.strategies.netns import hosting, nics, routing

_log = logging.getLogger(__name__)


@hookimpl
def vmnet_capture(settings: Settings) -> Identity:
    """Read links, addresses and routes by rtnetlink, and names from the engine's files."""
    hostname, domain = resolver.read_names()
    ntp = settings[NTP]
    own = frozenset((hostname, f"{hostname}.{domain}", os.uname().nodename))
    interfaces = read_interfaces(settings[INTERFACES], of_a_host=settings[HOST_NETWORK] == "take")
    return Identity(
        hostname=hostname,
        domain=domain,
        interfaces=interfaces,
        resolver=_resolver(settings, interfaces),
        hosts=resolver.read_hosts(own),
        ntp=ntp or (),
    )


def _resolver(settings: Settings, interfaces: tuple[Interface, ...]) -> Resolver:
    found = resolver.read_resolver()
    nameservers = settings[DNS]
    if nameservers is not None:
        found = evolve(found, nameservers=nameservers)
    return resolver.with_networks(found, interfaces, os.uname().nodename)


def read_interfaces(
    wanted: tuple[str, ...] | None, *, of_a_host: bool = False
) -> tuple[Interface, ...]:
    """Return the container's NICs in the natural order of their names: eth2 before eth10.

    :param wanted: the names of the NICs to return; None for every Ethernet NIC that is up
    :param of_a_host: accept a host's network namespace, too
    :raises CaptureError: there is no NIC, a wanted NIC is missing, or a NIC cannot be bridged
    :raises BridgeError: a NIC belongs to another VM
    """
    links, addresses, routes = _read()
    if not of_a_host:
        hosting.refuse(links, addresses, routes)
    chosen = nics.choose(links, wanted)
    _warn_about_uncaptured_routing(routes)
    return tuple(_with_router(_interface(link, addresses, routes)) for link in chosen)


def _read() -> tuple[list[Any], list[Any], list[Any]]:
    """Return all links, addresses and routes, without the kernel's own routes in table local."""
    from vmnet.api import rtnl

    try:
        with rtnl.Rtnl() as kernel:
            return (
                [rtnl.decode(rtnl.RTM_NEWLINK, body) for body in kernel.dump(rtnl.RTM_NEWLINK)],
                [rtnl.decode(rtnl.RTM_NEWADDR, body) for body in kernel.dump(rtnl.RTM_NEWADDR)],
                [
                    rtnl.decode(rtnl.RTM_NEWROUTE, body)
                    for body in kernel.dump(rtnl.RTM_NEWROUTE)
                    if not rtnl.is_local_route(body)
                ],
            )
    except OSError as error:
        raise CaptureError(
            f"can't read the container's network: {error.strerror or error}",
            "allow rtnetlink (AF_NETLINK) in the engine's seccomp profile",
        ) from error


def _warn_about_uncaptured_routing(routes: list[Any]) -> None:
    """Warn about routing that cannot be captured."""
    tables = {route.get_attr("RTA_TABLE") for route in routes} - {routing.RT_TABLE_MAIN}
    if tables:
        listed = ", ".join(map(str, sorted(tables)))
        _log.warning("not carried: policy routing (routing tables other than main: %s)", listed)
    for route in routes:
        if negative := routing.negative_kind(route):
            _log.warning("not carried: the %s route to %s", negative, routing.destination(route))


def _interface(link: Any, addresses: list[Any], routes: list[Any]) -> Interface:
    index = link["index"]
    own = routing.addresses_of(addresses, index)
    is_up = link["flags"] & nics.IFF_UP  # the kernel removes the routes of a NIC that is down
    return Interface(
        name=link.get_attr("IFLA_IFNAME"),
        mac=link.get_attr("IFLA_ADDRESS"),
        mtu=link.get_attr("IFLA_MTU"),
        kind=nics.kind(link),
        addresses=own,
        routes=routing.routes_through(routes, index, own),
        off_link=routing.off_link(routes, index, own) if is_up else (),
    )


def _with_router(interface: Interface) -> Interface:
    if not interface.routes_of(6):
        return interface
    from vmnet.api import router

    return evolve(interface, router=router.find(interface))
