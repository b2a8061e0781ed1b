"""The ``netns`` capture strategy: reads the identity from the network namespace of this process."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import Any

from attrs import evolve

from vmnet.api import (
    DNS,
    HOST_NETWORK,
    INTERFACES,
    INTERFACES_TIMEOUT,
    KEEP_PORTS,
    LOST_ROUTES,
    NTP,
    CaptureError,
    Identity,
    Interface,
    PortRange,
    Resolver,
    Settings,
    engine,
    hookimpl,
    inet_sockets,
    resolver,
)
from vmnet.strategies.netns import arrival, gateways, hosting, lost_routes, nics, routing

_log = logging.getLogger(__name__)


@hookimpl
def vmnet_capture(settings: Settings) -> Identity:
    """Read links, addresses and routes by rtnetlink, and names from the engine's files."""
    hostname, domain = resolver.read_names()
    ntp = settings[NTP]
    own = frozenset((hostname, f"{hostname}.{domain}", os.uname().nodename))
    wanted, kept = settings[INTERFACES], settings[KEEP_PORTS]
    if wanted is not None:
        arrival.wait_for(wanted, settings[INTERFACES_TIMEOUT])
    interfaces, not_carried = read_network(
        wanted,
        of_a_host=settings[HOST_NETWORK] == "take",
        accept_lost_routes=settings[LOST_ROUTES] == "accept",
        kept=kept or (),
    )
    return Identity(
        hostname=hostname,
        domain=domain,
        interfaces=interfaces,
        resolver=_resolver(settings, interfaces),
        hosts=resolver.read_hosts(own),
        ntp=ntp or (),
        not_carried=not_carried,
    )


def _resolver(settings: Settings, interfaces: tuple[Interface, ...]) -> Resolver:
    found = resolver.read_resolver()
    nameservers = settings[DNS]
    if nameservers is not None:
        found = evolve(found, nameservers=nameservers)
    return resolver.with_networks(found, interfaces, os.uname().nodename)


def read_network(
    wanted: tuple[str, ...] | None,
    *,
    of_a_host: bool = False,
    accept_lost_routes: bool = False,
    kept: tuple[PortRange, ...] = (),
) -> tuple[tuple[Interface, ...], tuple[str, ...]]:
    """Return the container's NICs in the natural order of their names, and what is not carried.

    :param wanted: the names of the NICs to return; None for every Ethernet NIC that is up
    :param of_a_host: accept a host's network namespace, too
    :param kept: ports on which programs of the container may listen
    :param accept_lost_routes: accept that a route through another interface is not handed over,
        though the guest's traffic then takes another way
    :raises CaptureError: there is no NIC, a wanted NIC is missing or cannot be bridged, or a route
        through another interface would be lost
    :raises BridgeError: a NIC belongs to another VM
    """
    links, addresses, routes = _read()
    if not of_a_host:
        hosting.refuse(links, addresses, routes)
    chosen = nics.choose(links, wanted)
    permanent = gateways.permanent()
    answerable = gateways.answerable(permanent)
    interfaces = tuple(
        gateways.with_neighbours(_interface(link, addresses, routes), answerable) for link in chosen
    )
    # While a VM runs, its own devices have routes and listeners.
    others = [link for link in links if not nics.is_of_a_vm(link)]
    lost = lost_routes.find(others, chosen, routes)
    if not (of_a_host or accept_lost_routes):
        lost_routes.refuse(lost, interfaces)
    not_carried = (
        *_uncaptured_routing(routes),
        *map(str, lost),
        *gateways.not_carried(interfaces, permanent),
    )
    if len(others) == len(links):
        _warn_about_listeners(interfaces, kept)
    for line in not_carried:
        _log.warning("not carried: %s", line)
    return tuple(map(_with_router, interfaces)), not_carried


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


def _uncaptured_routing(routes: list[Any]) -> Iterator[str]:
    """Describe the routing that cannot be captured."""
    tables = {route.get_attr("RTA_TABLE") for route in routes} - {routing.RT_TABLE_MAIN}
    if tables:
        listed = ", ".join(map(str, sorted(tables)))
        yield f"policy routing (routing tables other than main: {listed})"
    for route in routes:
        if negative := routing.negative_kind(route):
            yield f"the {negative} route to {routing.destination(route)}"


def _warn_about_listeners(interfaces: tuple[Interface, ...], kept: tuple[PortRange, ...]) -> None:
    """Warn about programs that the start cuts off, such as the sidecars of a pod.

    :param kept: ports that the container keeps
    """
    if found := inet_sockets.listening_outside(kept):
        ports = ",".join(f"{item.port}/{item.protocol}" for item in found)
        _log.warning(
            "other programs listen in this network namespace (%s): while the VM runs, the guest "
            "has the addresses of %s, and these programs have no network there",
            ", ".join(map(str, found)),
            ", ".join(interface.name for interface in interfaces),
            extra={
                "hint": "to keep them reachable from the network, set "
                + engine.assignment("VMNET_KEEP_PORTS", ports)
            },
        )


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
