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
    links,
    neighbours,
    reception,
    rtnl,
    step,
    tap,
)

_log = logging.getLogger(__name__)


def build(wiring: Wiring) -> None:
    """Create all taps, then all bridges.

    Opening a tap requires the same privileges as the rest, and changes nothing on the network.

    :raises PrivilegeError: a capability or device is missing; nothing has changed
    :raises BridgeError: the kernel refused a step
    """
    for port in wiring.ports:
        for fd in port.tap_fds:
            tap.open_tap(port.tap, fd)
    with step("open an rtnetlink socket"), rtnl.Rtnl() as kernel:
        for port in wiring.ports:
            _build_port(kernel, port)


def _build_port(kernel: rtnl.Rtnl, port: Port) -> None:
    """Build a bridge with two ports.

    The guest's MAC is a static entry, and neither port learns MACs: a frame from one port is for
    the other.
    """
    _add_bridge(kernel, port)
    _filter(kernel, port)  # before the guest can send
    _move_uplink(kernel, port)
    _connect_tap(kernel, port)
    _address_bridge(kernel, port)


def _add_bridge(kernel: rtnl.Rtnl, port: Port) -> None:
    with step(f"create the bridge {port.bridge}"):
        links.add_bridge(kernel, port.bridge, port.bridge_mac, port.mtu)
        links.disable_ipv6_link_local(kernel, port.bridge)
        links.answer_own_addresses_only(kernel, port.bridge)
        links.disable_ipv4_forwarding(kernel, port.bridge)
        links.disable_tx_checksum(port.bridge)


def _move_uplink(kernel: rtnl.Rtnl, port: Port) -> None:
    with step(f"move {port.uplink} to {port.bridge}"):
        links.change(kernel, port.uplink, up=False)
        links.delete_addresses(kernel, port.uplink)
        links.disable_ipv6_link_local(kernel, port.uplink)
        bridge = links.index(port.bridge)
        links.change(kernel, port.uplink, mac=port.uplink_mac, master=bridge)
        answered = bool(port.neighbours)
        links.set_bridge_port(kernel, port.uplink, learning=False, flood=True, answered=answered)
        for mac in {neighbour.mac for neighbour in port.neighbours}:
            neighbours.add_forwarding_entry(kernel, port.uplink, mac)
        links.change(kernel, port.uplink, up=True)


def _connect_tap(kernel: rtnl.Rtnl, port: Port) -> None:
    # Without a filter, the guest may have further MACs. If the tap learned them, the guest could
    # not reach a MAC that has moved to the network (VRRP).
    has_further_macs = port.sender is None
    with step(f"connect {port.tap} to {port.bridge}"):
        links.disable_ipv6_link_local(kernel, port.tap)
        links.disable_ipv4_forwarding(kernel, port.tap)
        links.change(kernel, port.tap, mtu=port.mtu, master=links.index(port.bridge))
        links.set_bridge_port(kernel, port.tap, learning=False, flood=has_further_macs)
        neighbours.add_forwarding_entry(kernel, port.tap, port.guest_mac)
        links.change(kernel, port.tap, up=True)


def _address_bridge(kernel: rtnl.Rtnl, port: Port) -> None:
    with step(f"give {port.bridge} the address {port.bridge_address}"):
        links.add_address(kernel, port.bridge, port.bridge_address)
        if port.link_local is not None:
            links.announce_addresses(kernel, port.bridge)
            links.add_address(kernel, port.bridge, port.link_local)
        links.change(kernel, port.bridge, up=True)
        for address in port.owned:
            if isinstance(address, IPv4Address):
                neighbours.add_neighbour(kernel, port.bridge, address, port.guest_mac)
        for neighbour in port.neighbours:
            entry = neighbour.address, neighbour.mac
            neighbours.add_neighbour(kernel, port.bridge, *entry, router=True)
        for address in port.guest_addresses:  # reachable with a link-local address alone
            links.add_host_route(kernel, port.bridge, address)
        if port.gateway is not None:
            onlink = port.gateway not in port.bridge_address.network
            links.add_default_route(kernel, port.bridge, port.gateway, onlink)


def _filter(kernel: rtnl.Rtnl, port: Port) -> None:
    """Attach the filters; warn if the kernel has none."""
    with step(f"filter {port.uplink}, {port.tap} and {port.bridge}"):
        is_filtered = (
            containment.contain(kernel, port)
            and antispoof.filter_tap(kernel, port)
            and reception.filter_bridge(kernel, port)
        )
    if not is_filtered:
        lacks = "the kernel lacks clsact or cls_bpf"
        _log.warning("%s is not filtered (%s): %s", port.uplink, lacks, "; ".join(_risks(port)))


def _risks(port: Port) -> Iterator[str]:
    """Return the risks of a port without filters."""
    if port.contain:
        yield "another DHCP server on its network may answer the guest"
    yield "hosts on its network can impersonate the guest and query this container's DNS"
    if port.sender is not None:
        yield "the guest can send from any address"
    yield "the guest can reach every service in this container"
