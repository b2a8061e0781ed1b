"""The ``netns`` capture strategy: the identity of the network namespace we run in."""

from __future__ import annotations

import logging
import os
import re
from typing import Any

from attrs import evolve

from vmnet.errors import BridgeError, CaptureError
from vmnet.hookspecs import hookimpl
from vmnet.model.identity import Identity, Interface, Resolver
from vmnet.net import resolver
from vmnet.settings.core import DNS, HOST_NETWORK, INTERFACES, NTP
from vmnet.settings.table import Settings
from vmnet.strategies.netns import hosting, routing
from vmnet.strategies.netns.hosting import kind

_log = logging.getLogger(__name__)
_ARPHRD_ETHER = 1
_IFF_UP = 1
# Made by us or by the kernel for itself; none is a container's NIC.
_NOT_A_NIC = frozenset(("bridge", "tun", "dummy", "gretap", "ip6gretap", "erspan", "ip6erspan"))
# A port of a bridge must carry frames of other MACs than its own; these kinds don't.
_NOT_BRIDGEABLE = frozenset(("macvlan", "ipvlan"))


@hookimpl
def vmnet_capture(settings: Settings) -> Identity:
    """Read links, addresses and routes by rtnetlink, names from the files that the engine wrote."""
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
    """The container's NICs in natural order of their names: eth2 before eth10.

    :param wanted: the names to restrict to; None means every Ethernet NIC that is up
    :param of_a_host: take over a network that others depend on, too
    :raises CaptureError: there is none, a wanted one is missing, or one can't be bridged
    :raises BridgeError: one is another VM's
    """
    links, addresses, routes = _read()
    if not of_a_host:
        _refuse_host(links, addresses, routes)
    chosen = _choose(links, wanted)
    for link in chosen:
        _refuse_unbridgeable(link)
    _warn_of_uncaptured(routes)
    return tuple(_with_router(_interface(link, addresses, routes)) for link in chosen)


def _read() -> tuple[list[Any], list[Any], list[Any]]:
    """All links, addresses, and routes outside of the table that the kernel derives."""
    from vmnet.net import rtnl

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
            "rtnetlink must not be filtered: does the engine's seccomp profile allow AF_NETLINK?",
        ) from error


def _refuse_host(links: list[Any], addresses: list[Any], routes: list[Any]) -> None:
    """`docker run --network host` shares the host's namespace: bridging there cuts the host off."""
    first = "it is the kernel's first one" if hosting.is_first() else ""
    if reason := first or hosting.sign(links, addresses, routes):
        raise CaptureError(
            f"this is a host's own network namespace, and a VM would cut it off: {reason}",
            "run in a container with a network of its own, not `--network host`; "
            "VMNET_HOST_NETWORK=take takes the host's all the same",
        )


def _warn_of_uncaptured(routes: list[Any]) -> None:
    """Name what of the container's routing no strategy can know of."""
    others = {route.get_attr("RTA_TABLE") for route in routes} - {routing.RT_TABLE_MAIN}
    if others:
        listed = ", ".join(map(str, sorted(others)))
        _log.warning("not carried: policy routing (routing tables beside main: %s)", listed)
    for route in routes:
        if kind := routing.negative(route):
            _log.warning("not carried: the %s route to %s", kind, routing.destination(route))


def _choose(links: list[Any], wanted: tuple[str, ...] | None) -> list[Any]:
    nics = {link.get_attr("IFLA_IFNAME"): link for link in links if _is_nic(link)}
    if wanted is None:
        up = [link for link in nics.values() if link["flags"] & _IFF_UP]
        # Ports are what a program in the container bridges, such as an engine of its own.
        chosen = [link for link in up if not _bridge_of(link, links)] or up
        if not nics:
            _refuse_user_mode(links)
        if not chosen:
            raise CaptureError(
                f"no network interface to hand over (found: {', '.join(nics) or 'none'})",
                "give the container a network: `docker run` without `--network none` or `host`",
            )
    else:
        missing = [name for name in wanted if name not in nics]
        if missing:
            raise CaptureError(
                f"VMNET_INTERFACES={','.join(wanted)}: there is no interface {missing[0]}",
                f"the container has: {', '.join(nics) or 'none'}",
            )
        chosen = [nics[name] for name in wanted]
    for link in chosen:
        _refuse_taken(link, links)
    return sorted(chosen, key=lambda link: _natural(link.get_attr("IFLA_IFNAME")))


def _refuse_user_mode(links: list[Any]) -> None:
    """A rootless engine carries one machine's connections, over a tap with a program behind it."""
    for link in links:
        if kind(link) == "tun" and link["flags"] & _IFF_UP:
            raise CaptureError(
                f"{link.get_attr('IFLA_IFNAME')} leads to a user-mode network (slirp4netns, pasta) "
                "as rootless containers have it, which can't be bridged",
                "with rootless Podman: `podman network create NAME`, then `podman run --network "
                "NAME --cap-add NET_ADMIN,NET_RAW --device /dev/net/tun`",
            )


def _is_nic(link: Any) -> bool:
    return link["ifi_type"] == _ARPHRD_ETHER and kind(link) not in _NOT_A_NIC


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part or 0), text) for text, part in re.findall(r"(\D+)(\d*)", name)]


def _refuse_unbridgeable(link: Any) -> None:
    if kind(link) in _NOT_BRIDGEABLE:
        raise CaptureError(
            f"{link.get_attr('IFLA_IFNAME')} is a {kind(link)} interface, which can't be bridged",
            "use a bridge or overlay network, or leave it out with VMNET_INTERFACES",
        )


def _bridge_of(link: Any, links: list[Any]) -> str:
    """The bridge that a NIC is a port of; empty where it is none's."""
    master = link.get_attr("IFLA_MASTER")
    bridges = (other for other in links if other["index"] == master and kind(other) == "bridge")
    return next((other.get_attr("IFLA_IFNAME") for other in bridges), "")


def _refuse_taken(link: Any, links: list[Any]) -> None:
    """What has a NIC in its bridge has the container's identity, too."""
    if bridge := _bridge_of(link, links):
        raise BridgeError(
            f"{link.get_attr('IFLA_IFNAME')} is a port of the bridge {bridge} already",
            "another VM has this network namespace, or had it and its VMNET_RUN_DIR is lost: start "
            "in a container or pod with a network of its own",
        )


def _interface(link: Any, addresses: list[Any], routes: list[Any]) -> Interface:
    index = link["index"]
    own = routing.own(addresses, index)
    is_up = link["flags"] & _IFF_UP  # one that is down has no routes
    return Interface(
        name=link.get_attr("IFLA_IFNAME"),
        mac=link.get_attr("IFLA_ADDRESS"),
        mtu=link.get_attr("IFLA_MTU"),
        kind=kind(link),
        addresses=own,
        routes=routing.through(routes, index, own),
        off_link=routing.off_link(routes, index, own) if is_up else (),
    )


def _with_router(interface: Interface) -> Interface:
    if not interface.routes_of(6):
        return interface
    from vmnet.net import router

    return evolve(interface, router=router.find(interface))
