"""Build the bridges and taps, and connect the uplinks to them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from ipaddress import IPv4Address

from vmnet.api import (
    Port,
    Wiring,
    antispoof,
    containment,
    guest_addresses,
    links,
    neighbours,
    reception,
    rtnl,
    step,
    tap,
)
from vmnet.strategies.bridge.bridged import Bridged

_log = logging.getLogger(__name__)


def build(wiring: Wiring) -> None:
    """Create all taps, then all bridges.

    Opening a tap requires the same privileges as the rest, and changes nothing on the network.

    :raises PrivilegeError: a capability or device is missing; nothing has changed
    :raises BridgeError: the kernel refused a step
    """
    bridged = [Bridged.of(port) for port in wiring.ports]
    for each in bridged:
        tap.open_tap(each.tap.name, *each.tap.fds)
    with step("open an rtnetlink socket"), rtnl.Rtnl() as kernel:
        for each in bridged:
            _build_port(kernel, each)
    _load_rules(wiring)


def rejoin(wiring: Wiring) -> None:
    """Make bridges that exist correspond to their ports, whose uplinks may be new.

    :raises BridgeError: the kernel refused a step
    """
    with step("open an rtnetlink socket"), rtnl.Rtnl() as kernel:
        for bridged in map(Bridged.of, wiring.ports):
            _rejoin_port(kernel, bridged)
    _load_kept_ports(wiring)  # the rules of a device go with it


def _rejoin_port(kernel: rtnl.Rtnl, bridged: Bridged) -> None:
    port, bridge = bridged.port, bridged.bridge.device
    with step(f"filter {port.uplink} and {bridged.tap.name}"):
        for name in (port.uplink, bridged.tap.name):
            containment.remove(kernel, name)
        containment.contain(kernel, port)
        antispoof.filter_tap(kernel, port)
    with step(f"set the MTU of {bridge}"):
        for name in (bridged.tap.name, bridge):
            links.change(kernel, name, mtu=port.mtu)
    if links.get(kernel, port.uplink).get_attr("IFLA_MASTER"):
        with step(f"take the addresses from {port.uplink}"):
            links.delete_addresses(kernel, port.uplink)
            links.delete_routes(kernel, port.uplink)
    else:
        _move_uplink(kernel, bridged)
    if port.kept is None and not port.localhost:
        with step(f"change the routes to the guest on {bridge}"):
            own = port.owned, port.guest_addresses
            guest_addresses.replace(kernel, bridge, port.guest_mac, *own)


def _load_rules(wiring: Wiring) -> None:
    _load_kept_ports(wiring)
    if any(port.localhost for port in wiring.ports):
        from vmnet.api import localhost

        localhost.load(wiring.ports)


def _load_kept_ports(wiring: Wiring) -> None:
    if any(port.kept is not None for port in wiring.ports):
        from vmnet.api import kept_ports

        kept_ports.load(wiring.ports)


def _build_port(kernel: rtnl.Rtnl, bridged: Bridged) -> None:
    """Build a bridge with two ports.

    The guest's MAC is a static entry, and neither port learns MACs: a frame from one port is for
    the other.
    """
    _add_bridge(kernel, bridged)
    _filter(kernel, bridged)  # before the guest can send
    _move_uplink(kernel, bridged)
    _connect_tap(kernel, bridged)
    _address_bridge(kernel, bridged)


def _add_bridge(kernel: rtnl.Rtnl, bridged: Bridged) -> None:
    name = bridged.bridge.device
    with step(f"create the bridge {name}"):
        links.add_bridge(kernel, name, bridged.bridge.mac, bridged.port.mtu)
        links.disable_ipv6_link_local(kernel, name)
        links.answer_own_addresses_only(kernel, name)
        links.disable_ipv4_forwarding(kernel, name)
        links.disable_tx_checksum(name)


def _move_uplink(kernel: rtnl.Rtnl, bridged: Bridged) -> None:
    port = bridged.port
    with step(f"move {port.uplink} to {bridged.bridge.device}"):
        links.change(kernel, port.uplink, up=False)
        links.delete_addresses(kernel, port.uplink)
        links.disable_ipv6_link_local(kernel, port.uplink)
        bridge = links.index(bridged.bridge.device)
        links.change(kernel, port.uplink, mac=bridged.uplink_mac, master=bridge)
        answered = bool(port.neighbours)
        links.set_bridge_port(kernel, port.uplink, learning=False, flood=True, answered=answered)
        for mac in {neighbour.mac for neighbour in port.neighbours}:
            neighbours.add_forwarding_entry(kernel, port.uplink, mac)
        links.change(kernel, port.uplink, up=True)


def _connect_tap(kernel: rtnl.Rtnl, bridged: Bridged) -> None:
    # Without a filter, the guest may have further MACs. If the tap learned them, the guest could
    # not reach a MAC that has moved to the network (VRRP).
    port, name, bridge = bridged.port, bridged.tap.name, bridged.bridge.device
    has_further_macs = port.sender is None
    with step(f"connect {name} to {bridge}"):
        links.disable_ipv6_link_local(kernel, name)
        links.disable_ipv4_forwarding(kernel, name)
        links.change(kernel, name, mtu=port.mtu, master=links.index(bridge))
        links.set_bridge_port(kernel, name, learning=False, flood=has_further_macs)
        neighbours.add_forwarding_entry(kernel, name, port.guest_mac)
        links.change(kernel, name, up=True)


def _address_bridge(kernel: rtnl.Rtnl, bridged: Bridged) -> None:
    port, bridge = bridged.port, bridged.bridge
    with step(f"give {bridge.device} the address {bridge.address}"):
        links.add_address(kernel, bridge.device, bridge.address)
        if bridge.link_local is not None:
            links.announce_addresses(kernel, bridge.device)
            links.add_address(kernel, bridge.device, bridge.link_local)
        links.change(kernel, bridge.device, up=True)
        for address in port.owned:
            if isinstance(address, IPv4Address):
                neighbours.add_neighbour(kernel, bridge.device, address, port.guest_mac)
        for neighbour in port.neighbours:
            entry = neighbour.address, neighbour.mac
            neighbours.add_neighbour(kernel, bridge.device, *entry, router=True)
        for address in port.guest_addresses:  # reachable with a link-local address alone
            links.add_host_route(kernel, bridge.device, address)
        if bridge.gateway is not None and bridge.link_local is not None:
            onlink = bridge.gateway not in bridge.address.network
            links.add_default_route(kernel, bridge.device, bridge.gateway, onlink)
        if port.kept is not None:
            from vmnet.api import kept_ports

            kept_ports.add_addresses(kernel, port, bridge, port.kept)
        if port.localhost:
            from vmnet.api import localhost

            localhost.add_addresses(kernel, port, bridge)


def _filter(kernel: rtnl.Rtnl, bridged: Bridged) -> None:
    """Attach the filters; warn if the kernel has none."""
    port, bridge = bridged.port, bridged.bridge
    with step(f"filter {port.uplink}, {bridged.tap.name} and {bridge.device}"):
        is_filtered = (
            containment.contain(kernel, port)
            and antispoof.filter_tap(kernel, port)
            and reception.filter_bridge(kernel, port, bridge)
        )
    if not is_filtered:
        lacks = "the kernel lacks clsact or cls_bpf"
        _log.warning(
            "%s is not filtered (%s): %s",
            port.uplink,
            lacks,
            "; ".join(_risks(port)),
            extra={"event": "filter.missing"},
        )


def _risks(port: Port) -> Iterator[str]:
    """Return the risks of a port without filters."""
    if port.contain:
        yield "another DHCP server on its network may answer the guest"
    yield "hosts on its network can impersonate the guest and query this container's DNS"
    if port.sender is not None:
        yield "the guest can send from any address"
    yield "the guest can reach every service in this container"
