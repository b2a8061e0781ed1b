"""The ``netns`` capture strategy: reads the identity from the network namespace of this process."""

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
# Kinds that vmnet or the kernel creates; no engine gives a container such a NIC.
_NOT_A_NIC = frozenset(("bridge", "tun", "dummy", "gretap", "ip6gretap", "erspan", "ip6erspan"))
# A bridge port must carry frames of any MAC; these kinds carry only those of their own MAC.
_NOT_BRIDGEABLE = frozenset(("macvlan", "ipvlan"))


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
        _refuse_host(links, addresses, routes)
    chosen = _choose(links, wanted)
    for link in chosen:
        _refuse_unbridgeable(link)
    _warn_about_uncaptured_routing(routes)
    return tuple(_with_router(_interface(link, addresses, routes)) for link in chosen)


def _read() -> tuple[list[Any], list[Any], list[Any]]:
    """Return all links, addresses and routes, without the kernel's own routes in table local."""
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
            f"cannot read the container's network: {error.strerror or error}",
            "allow rtnetlink (AF_NETLINK) in the engine's seccomp profile",
        ) from error


def _refuse_host(links: list[Any], addresses: list[Any], routes: list[Any]) -> None:
    """Refuse the namespace of a host, as with `--network host`: the bridge would cut it off."""
    is_first = "it is the kernel's first network namespace" if hosting.is_first() else ""
    if reason := is_first or hosting.evidence(links, addresses, routes):
        raise CaptureError(
            f"this is a host's own network namespace, and a VM would cut it off: {reason}",
            "run the container with its own network, not with `--network host`; "
            "VMNET_HOST_NETWORK=take overrides this check",
        )


def _warn_about_uncaptured_routing(routes: list[Any]) -> None:
    """Warn about routing that cannot be captured."""
    tables = {route.get_attr("RTA_TABLE") for route in routes} - {routing.RT_TABLE_MAIN}
    if tables:
        listed = ", ".join(map(str, sorted(tables)))
        _log.warning("not carried: policy routing (routing tables other than main: %s)", listed)
    for route in routes:
        if kind := routing.negative_kind(route):
            _log.warning("not carried: the %s route to %s", kind, routing.destination(route))


def _choose(links: list[Any], wanted: tuple[str, ...] | None) -> list[Any]:
    nics = {link.get_attr("IFLA_IFNAME"): link for link in links if _is_nic(link)}
    if wanted is None:
        up = [link for link in nics.values() if link["flags"] & _IFF_UP]
        # Bridge ports belong to a program in the container, such as an engine.
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
        _refuse_bridged(link, links)
    return sorted(chosen, key=lambda link: _natural_key(link.get_attr("IFLA_IFNAME")))


def _refuse_user_mode(links: list[Any]) -> None:
    """Refuse the tap of a rootless engine: its user-mode network serves only this machine."""
    for link in links:
        if kind(link) == "tun" and link["flags"] & _IFF_UP:
            raise CaptureError(
                f"{link.get_attr('IFLA_IFNAME')} leads to a user-mode network (slirp4netns, pasta) "
                "of a rootless engine, which cannot be bridged",
                "with rootless Podman: `podman network create NAME`, then `podman run --network "
                "NAME --cap-add NET_ADMIN,NET_RAW --device /dev/net/tun`",
            )


def _is_nic(link: Any) -> bool:
    return link["ifi_type"] == _ARPHRD_ETHER and kind(link) not in _NOT_A_NIC


def _natural_key(name: str) -> list[tuple[int, str]]:
    return [(int(part or 0), text) for text, part in re.findall(r"(\D+)(\d*)", name)]


def _refuse_unbridgeable(link: Any) -> None:
    if kind(link) in _NOT_BRIDGEABLE:
        raise CaptureError(
            f"{link.get_attr('IFLA_IFNAME')} is a {kind(link)} interface, which cannot be bridged",
            "use a bridge or overlay network, or exclude the interface with VMNET_INTERFACES",
        )


def _bridge_of(link: Any, links: list[Any]) -> str:
    """Return the name of the bridge that a NIC is a port of; empty if there is none."""
    master = link.get_attr("IFLA_MASTER")
    bridges = (other for other in links if other["index"] == master and kind(other) == "bridge")
    return next((bridge.get_attr("IFLA_IFNAME") for bridge in bridges), "")


def _refuse_bridged(link: Any, links: list[Any]) -> None:
    """Refuse a NIC that is a port: the owner of the bridge already has the NIC's identity."""
    if bridge := _bridge_of(link, links):
        raise BridgeError(
            f"{link.get_attr('IFLA_IFNAME')} is already a port of the bridge {bridge}",
            "another VM uses this network namespace, or used it and its VMNET_RUN_DIR is lost: "
            "start in a container or pod with its own network",
        )


def _interface(link: Any, addresses: list[Any], routes: list[Any]) -> Interface:
    index = link["index"]
    own = routing.addresses_of(addresses, index)
    is_up = link["flags"] & _IFF_UP  # the kernel removes the routes of a NIC that is down
    return Interface(
        name=link.get_attr("IFLA_IFNAME"),
        mac=link.get_attr("IFLA_ADDRESS"),
        mtu=link.get_attr("IFLA_MTU"),
        kind=kind(link),
        addresses=own,
        routes=routing.routes_through(routes, index, own),
        off_link=routing.off_link(routes, index, own) if is_up else (),
    )


def _with_router(interface: Interface) -> Interface:
    if not interface.routes_of(6):
        return interface
    from vmnet.net import router

    return evolve(interface, router=router.find(interface))
