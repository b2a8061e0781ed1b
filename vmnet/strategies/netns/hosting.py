"""Is this the network of a host, on which others depend? Known by what the namespace holds.

A container with ``--network host`` under an engine that is itself in a container (Docker in Docker,
kind, LXC), and a pod with ``hostNetwork``, share the network on which all containers there depend.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from vmnet.model.identity import Route
from vmnet.strategies.netns import routing

# A knob that the kernel shows in its first network namespace only.
_ONLY_IN_THE_FIRST = Path("/proc/sys/net/core/netdev_max_backlog")
_TCP = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_LISTEN, _KUBELET = "0A", ":280A"  # port 10250
# Ends of tunnels between hosts, by kind of link.
_TUNNELS = frozenset(("vxlan", "geneve", "openvswitch"))
_CILIUM = "cilium_host"
# See vmnet.strategies.bridge. An engine's `br-0123456789ab` may have such a MAC by chance.
_OUR_NAMES, _OUR_MACS = re.compile(r"br\d+", re.ASCII), "06:"


def is_first() -> bool:
    """Whether this is the network namespace that the kernel began with."""
    return _ONLY_IN_THE_FIRST.exists()


def sign(links: Iterable[Any], addresses: Iterable[Any], routes: Iterable[Any]) -> str:
    """What shows that others depend on this network, in words; empty where nothing does.

    :param links: all in the namespace, as pyroute2's messages, like *addresses* and *routes*
    """
    found = _Found(tuple(links), tuple(addresses), tuple(routes))
    signs = (*found.gateways(), *found.ends(), *found.tunnels(), *_kubelet())
    return next(iter(signs), "")


class _Found:
    """The signs among the links."""

    def __init__(
        self, links: tuple[Any, ...], addresses: tuple[Any, ...], routes: tuple[Any, ...]
    ) -> None:
        self._links = links
        # Those that the kernel derives are of the addresses.
        self._routes = [route for route in routes if route["proto"] != routing.RTPROT_KERNEL]
        self._addresses = addresses

    def gateways(self) -> Iterator[str]:
        """Bridges with an address, which engines make to be their containers' gateway.

        Not one that has a NIC of this container itself as a port, and not our own.
        """
        for link in self._links:
            own = routing.own(self._addresses, link["index"])
            if kind(link) == "bridge" and own and not self._is_this_containers(link):
                yield f"the bridge {_name(link)} has the address {own[0]}, as engines give theirs"

    def ends(self) -> Iterator[str]:
        """Cables to containers that are routed to, as CNI's ptp and Calico lay them."""
        cables = [link for link in self._links if kind(link) == "veth" and _peer(link) is not None]
        ways_out = [link for link in self._links if self._is_a_way_out(link)]
        for link in cables if ways_out else ():
            if link in ways_out:
                continue
            through = self._through(link)
            gateways = {route.gateway for route in through}
            for route in through:
                to = route.destination
                is_host = to.prefixlen == to.max_prefixlen and route.gateway is None
                if is_host and to.network_address not in gateways:
                    yield f"{_name(link)} leads to a container with the address {to[0]}"

    def tunnels(self) -> Iterator[str]:
        for link in self._links:
            if kind(link) in _TUNNELS or _name(link) == _CILIUM:
                yield f"{_name(link)} connects it to other hosts"

    def _is_this_containers(self, bridge: Any) -> bool:
        if _OUR_NAMES.fullmatch(_name(bridge)) and _mac(bridge).startswith(_OUR_MACS):
            return True
        here = {_peer(other) for other in self._links if self._is_a_way_out(other)} - {None}
        ports = [other for other in self._links if other.get_attr("IFLA_MASTER") == bridge["index"]]
        return self._is_a_way_out(bridge) or any(_peer(other) in here for other in ports)

    def _is_a_way_out(self, link: Any) -> bool:
        """Whether an interface has a subnet of its own, or a default route."""
        own = () if kind(link) == "bridge" else routing.own(self._addresses, link["index"])
        has_subnet = any(address.network.prefixlen < address.max_prefixlen for address in own)
        return has_subnet or any(route.is_default for route in self._through(link))

    def _through(self, link: Any) -> tuple[Route, ...]:
        index = link["index"]
        return routing.through(self._routes, index, routing.own(self._addresses, index))


def _kubelet() -> Iterator[str]:
    for path in _TCP:
        if not path.exists():
            continue
        for line in path.read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == _LISTEN and words[1].endswith(_KUBELET):
                yield "a kubelet listens on port 10250"
                return


def kind(link: Any) -> str:
    """The kind of a link, empty for a physical NIC."""
    info = link.get_attr("IFLA_LINKINFO")
    return (info.get_attr("IFLA_INFO_KIND") or "") if info is not None else ""


def _peer(link: Any) -> int | None:
    """The number of the other namespace that a link's other end is in."""
    found: int | None = link.get_attr("IFLA_LINK_NETNSID")
    return found


def _name(link: Any) -> str:
    return str(link.get_attr("IFLA_IFNAME"))


def _mac(link: Any) -> str:
    return link.get_attr("IFLA_ADDRESS") or ""
