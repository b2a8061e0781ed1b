"""The ``netns`` capture strategy: reads the identity from the network namespace of this process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from attrs import evolve

from vmnet.api import (
    DNS,
    HOST_NETWORK,
    INTERFACES,
    INTERFACES_TIMEOUT,
    NTP,
    BypassedRoute,
    CaptureError,
    Identity,
    Interface,
    PortRange,
    Resolver,
    Settings,
    frozen,
    hookimpl,
    inet_sockets,
    resolver,
)
from vmnet.strategies.netns import arrival, gateways, hosting, lost_routes, nics, routing


@hookimpl
def vmnet_capture(settings: Settings) -> Identity:
    """Read links, addresses and routes by rtnetlink, and names from the engine's files."""
    hostname, domain = resolver.read_names()
    ntp = settings[NTP]
    own = frozenset((hostname, f"{hostname}.{domain}", os.uname().nodename))
    wanted = settings[INTERFACES]
    if wanted is not None:
        arrival.wait_for(wanted, settings[INTERFACES_TIMEOUT])
    found = read_network(wanted, of_a_host=settings[HOST_NETWORK] == "take")
    return Identity(
        hostname=hostname,
        domain=domain,
        interfaces=found.interfaces,
        resolver=_resolver(settings, found.interfaces),
        hosts=resolver.read_hosts(own),
        ntp=ntp or (),
        not_carried=found.not_carried,
        bypassed=found.bypassed,
        listening=found.listening,
    )


def _resolver(settings: Settings, interfaces: tuple[Interface, ...]) -> Resolver:
    found = resolver.read_resolver()
    nameservers = settings[DNS]
    if nameservers is not None:
        found = evolve(found, nameservers=nameservers)
    return resolver.with_networks(found, interfaces, os.uname().nodename)


@frozen
class Network:
    """The NICs in the natural order of their names; the other fields are those of the identity."""

    interfaces: tuple[Interface, ...]
    not_carried: tuple[str, ...]
    bypassed: tuple[BypassedRoute, ...]
    listening: tuple[PortRange, ...]


def read_network(wanted: tuple[str, ...] | None, *, of_a_host: bool = False) -> Network:
    """Return the container's network.

    :param wanted: the names of the NICs to return; None for every Ethernet NIC that is up
    :param of_a_host: accept a host's network namespace, too
    :raises CaptureError: there is no NIC, or a wanted NIC is missing or cannot be handed over
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
    not_carried = (
        *_uncaptured_routing(routes),
        *map(str, lost),
        *gateways.not_carried(interfaces, permanent),
    )
    return Network(
        interfaces=tuple(map(_with_router, interfaces)),
        not_carried=not_carried,
        bypassed=tuple(each.lost for each in lost if each.diverts(interfaces)),
        listening=_listening() if len(others) == len(links) else (),
    )


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


def _listening() -> tuple[PortRange, ...]:
    """Return the ports of programs such as the sidecars of a pod."""
    found = inet_sockets.listening_outside()
    return tuple(PortRange(item.protocol, item.port, item.port) for item in found)


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
