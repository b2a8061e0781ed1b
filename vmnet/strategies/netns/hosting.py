"""Detect whether a network namespace is a host's, from its devices, addresses and routes.

All containers of a host depend on its network. A container shares this network if it runs with
``--network host`` or as a pod with ``hostNetwork``. The host itself may be a container: Docker in
Docker, kind, LXC.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from vmnet.api import CaptureError, Route, inet_sockets
from vmnet.strategies.netns import routing
from vmnet.strategies.netns.nics import is_of_a_vm, kind

# The kernel shows this setting only in its first network namespace.
_ONLY_IN_THE_FIRST = Path("/proc/sys/net/core/netdev_max_backlog")
_KUBELET = 10250  # the port of its API
# Kinds of links that end a tunnel between hosts.
_TUNNELS = frozenset(("vxlan", "geneve", "openvswitch"))
_CILIUM = "cilium_host"


def refuse(links: list[Any], addresses: list[Any], routes: list[Any]) -> None:
    """Refuse the namespace of a host, as with `--network host`: the bridge would cut it off.

    :param links: all links of the namespace as pyroute2 messages, like *addresses* and *routes*
    :raises CaptureError: this is a host's network
    """
    is_first = "it is the kernel's first network namespace" if _is_first() else ""
    if reason := is_first or _evidence(links, addresses, routes):
        raise CaptureError(
            f"this is a host's own network namespace, and a VM would cut it off: {reason}",
            "run the container with its own network, not with `--network host`; "
            "VMNET_HOST_NETWORK=take overrides this check",
        )


def _is_first() -> bool:
    """Whether this is the kernel's first network namespace."""
    return _ONLY_IN_THE_FIRST.exists()


def _evidence(links: Iterable[Any], addresses: Iterable[Any], routes: Iterable[Any]) -> str:
    """Return a sentence on why this is a host's network; empty if nothing indicates it."""
    network = _Network(tuple(links), tuple(addresses), tuple(routes))
    reasons = (
        *network.gateway_bridges(),
        *network.container_cables(),
        *network.tunnels(),
        *_kubelet(),
    )
    return next(iter(reasons), "")


class _Network:
    """The links, addresses and routes of the namespace, searched for evidence of a host."""

    def __init__(
        self, links: tuple[Any, ...], addresses: tuple[Any, ...], routes: tuple[Any, ...]
    ) -> None:
        self._links = links
        # Routes that the kernel derives follow from the addresses.
        self._routes = [route for route in routes if route["proto"] != routing.RTPROT_KERNEL]
        self._addresses = addresses

    def gateway_bridges(self) -> Iterator[str]:
        """Report bridges with an address, because an engine's bridge is its containers' gateway.

        vmnet's own bridges do not count, nor does a bridge that has a NIC of this container as a
        port.
        """
        for link in self._links:
            own = routing.addresses_of(self._addresses, link["index"])
            if kind(link) == "bridge" and own and not self._is_of_this_container(link):
                yield f"the bridge {_name(link)} has the address {own[0]}, like an engine's bridge"

    def container_cables(self) -> Iterator[str]:
        """Report veths with a route to a container, as CNI's ptp and Calico create them."""
        cables = [link for link in self._links if kind(link) == "veth" and _peer(link) is not None]
        uplinks = [link for link in self._links if self._is_uplink(link)]
        for cable in cables if uplinks else ():
            if cable in uplinks:
                continue
            routes = self._routes_through(cable)
            gateways = {route.gateway for route in routes}
            for route in routes:
                to = route.destination
                is_host = to.prefixlen == to.max_prefixlen and route.gateway is None
                if is_host and to.network_address not in gateways:
                    yield f"{_name(cable)} leads to a container with the address {to[0]}"

    def tunnels(self) -> Iterator[str]:
        """Report the ends of tunnels to other hosts."""
        for link in self._links:
            if kind(link) in _TUNNELS or _name(link) == _CILIUM:
                yield f"{_name(link)} connects it to other hosts"

    def _is_of_this_container(self, bridge: Any) -> bool:
        if is_of_a_vm(bridge):
            return True
        outside = {_peer(link) for link in self._links if self._is_uplink(link)} - {None}
        ports = [link for link in self._links if link.get_attr("IFLA_MASTER") == bridge["index"]]
        return self._is_uplink(bridge) or any(_peer(port) in outside for port in ports)

    def _is_uplink(self, link: Any) -> bool:
        """Whether a link has a default route or, unless it is a bridge, a subnet."""
        own = () if kind(link) == "bridge" else routing.addresses_of(self._addresses, link["index"])
        has_subnet = any(address.network.prefixlen < address.max_prefixlen for address in own)
        return has_subnet or any(route.is_default for route in self._routes_through(link))

    def _routes_through(self, link: Any) -> tuple[Route, ...]:
        index = link["index"]
        own = routing.addresses_of(self._addresses, index)
        return routing.routes_through(self._routes, index, own)


def _kubelet() -> Iterator[str]:
    """Report a kubelet that listens in this namespace."""
    found = inet_sockets.find()
    if any(item.listens and (item.protocol, item.port) == ("tcp", _KUBELET) for item in found):
        yield f"a kubelet listens on port {_KUBELET}"


def _peer(link: Any) -> int | None:
    """Return the ID of the namespace that contains a link's other end; None if it is this one."""
    namespace: int | None = link.get_attr("IFLA_LINK_NETNSID")
    return namespace


def _name(link: Any) -> str:
    return str(link.get_attr("IFLA_IFNAME"))
