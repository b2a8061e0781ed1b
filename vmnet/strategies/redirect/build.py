"""Build the taps, and redirect the frames of uplinks and taps to each other."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address

from vmnet.api import (
    Outside,
    Wiring,
    containment,
    guest_addresses,
    links,
    neighbours,
    redirection,
    replay,
    rtnl,
    step,
    tap,
)
from vmnet.strategies.redirect.ends import Ends


def build(wiring: Wiring) -> None:
    """Create all taps, then all redirections.

    Opening a tap requires the same privileges as the rest, and changes nothing on the network.

    :raises PrivilegeError: a capability or device is missing; nothing has changed
    :raises BridgeError: the kernel refused a step, or lacks a module
    """
    redirected = [Ends.of(port) for port in wiring.ports]
    for each in redirected:
        tap.open_tap(each.tap.name, *each.tap.fds)
    with step("open an rtnetlink socket"), rtnl.Rtnl() as kernel:
        for each in redirected:
            _build_port(kernel, each)
    _load_kept_ports(wiring)


def _load_kept_ports(wiring: Wiring) -> None:
    if any(port.kept is not None for port in wiring.ports):
        from vmnet.api import kept_ports

        kept_ports.load(wiring.ports)
    if any(port.localhost for port in wiring.ports):
        from vmnet.api import localhost

        localhost.load(wiring.ports)


def rejoin(wiring: Wiring) -> None:
    """Make redirections correspond to their ports, whose uplinks may be new.

    A device next to an uplink goes with it.

    :raises BridgeError: the kernel refused a step, or lacks a module
    """
    with step("open an rtnetlink socket"), rtnl.Rtnl() as kernel:
        for each in map(Ends.of, wiring.ports):
            _rejoin_port(kernel, each)
    _load_kept_ports(wiring)  # the rules of a device go with it


def _rejoin_port(kernel: rtnl.Rtnl, ends: Ends) -> None:
    port, outside = ends.port, ends.path.outside
    is_gone = outside is not None and not links.exists(outside.device)
    with step(f"remove the filters of {port.uplink} and {ends.tap.name}"):
        for name in (port.uplink, ends.tap.name, *_present(outside)):
            containment.remove(kernel, name)
    with step(f"set the MAC and the MTU of {port.uplink}"):
        links.change(kernel, ends.tap.name, mtu=port.mtu)
        if links.get(kernel, port.uplink).get_attr("IFLA_ADDRESS") != port.guest_mac:
            links.change(kernel, port.uplink, up=False)
            links.change(kernel, port.uplink, mac=port.guest_mac)
    if outside is not None and is_gone:
        _add_outside(kernel, ends, outside)
    join(kernel, ends)
    _clear_uplink(kernel, ends)
    if outside is not None and is_gone:
        with step(f"take the spare address from {ends.own.device}"):
            links.delete_addresses(kernel, ends.own.device)
            for address in ends.own.addresses:
                links.add_address(kernel, ends.own.device, address)
            _serve_localhost(kernel, ends)
        _address_outside(kernel, outside)
    with step(f"change the routes to the guest on {ends.own.device}"):
        reached = (*port.guest_addresses, *(each.guest for each in port.localhost))
        own = port.owned, [each for each in reached if isinstance(each, IPv4Address)]
        guest_addresses.replace(kernel, ends.own.device, port.guest_mac, *own)


def _present(outside: Outside | None) -> Iterator[str]:
    if outside is not None and links.exists(outside.device):
        yield outside.device


def _build_port(kernel: rtnl.Rtnl, ends: Ends) -> None:
    """Redirect the frames of a port.

    The tap is up only when its filters are there: the guest cannot send before.
    """
    _prepare_tap(kernel, ends)
    if ends.path.outside is not None:
        _add_outside(kernel, ends, ends.path.outside)
    join(kernel, ends)
    _clear_uplink(kernel, ends)
    _address_tap(kernel, ends)
    if ends.path.outside is not None:
        _address_outside(kernel, ends.path.outside)


def _prepare_tap(kernel: rtnl.Rtnl, ends: Ends) -> None:
    name = ends.tap.name
    with step(f"set up {name}"):
        links.change(kernel, name, mac=ends.own.mac, mtu=ends.port.mtu)
        _isolate(kernel, name)
        if ends.path.shares_mac:  # the uplink keeps the guest's addresses
            links.accept_own_addresses(kernel, name)


def _isolate(kernel: rtnl.Rtnl, name: str) -> None:
    links.disable_ipv6_link_local(kernel, name)
    links.answer_own_addresses_only(kernel, name)
    links.disable_ipv4_forwarding(kernel, name)


def _add_outside(kernel: rtnl.Rtnl, ends: Ends, outside: Outside) -> None:
    port, name = ends.port, outside.device
    with step(f"create {name} next to {port.uplink}"):
        if ends.path.kind == "ipvlan":
            links.add_ipvlan(kernel, name, port.uplink, port.mtu)
        else:
            links.add_macvlan(kernel, name, port.uplink, outside.mac, port.mtu)
        _isolate(kernel, name)


def join(kernel: rtnl.Rtnl, ends: Ends) -> None:
    """Redirect the frames of the uplink and the tap to each other, and filter them.

    :raises BridgeError: the kernel refused, or lacks a module
    """
    uplink, name = ends.port.uplink, ends.tap.name
    with step(f"redirect the frames of {uplink} and {name}"), redirection.modules(uplink):
        redirection.join(kernel, ends.port, ends.own, ends.path)


def _clear_uplink(kernel: rtnl.Rtnl, ends: Ends) -> None:
    """Take the addresses and routes from the uplink, whose stack gets only frames for kept ports.

    An ipvlan interface receives only packets for its own addresses, so it gets them again, but
    without the routes that make them the container's.
    """
    uplink = ends.port.uplink
    with step(f"take the addresses from {uplink}"):
        # The uplink's own list of multicast groups is not the guest's.
        flags = links.REDIRECTED if ends.port.kept is None else links.IFF_ALLMULTI
        links.set_flags(kernel, uplink, flags, links.REDIRECTED)
        links.change(kernel, uplink, up=False)
        links.delete_addresses(kernel, uplink)
        links.disable_ipv6_link_local(kernel, uplink)
        links.change(kernel, uplink, up=True)
        if ends.path.shares_mac:
            replay.addresses(kernel, uplink, ends.port.saved)
            links.delete_routes(kernel, uplink)
        if ends.port.kept is not None:
            from vmnet.api import kept_ports

            kept_ports.add_uplink_addresses(kernel, ends.port, ends.port.kept)


def _address_tap(kernel: rtnl.Rtnl, ends: Ends) -> None:
    port, own = ends.port, ends.own
    with step(f"give {own.device} the address {own.address}"):
        for each in own.addresses:
            links.add_address(kernel, own.device, each)
        links.change(kernel, own.device, up=True)
        for address in port.owned:
            if isinstance(address, IPv4Address):
                neighbours.add_neighbour(kernel, own.device, address, port.guest_mac)
        for address in port.guest_addresses:
            links.add_host_route(kernel, own.device, address)
        _serve_localhost(kernel, ends)


def _serve_localhost(kernel: rtnl.Rtnl, ends: Ends) -> None:
    if ends.port.localhost:
        from vmnet.api import localhost

        localhost.add_addresses(kernel, ends.port, ends.own)


def _address_outside(kernel: rtnl.Rtnl, outside: Outside) -> None:
    address = outside.address
    if address is None:
        with step(f"set {outside.device} up"):
            links.change(kernel, outside.device, up=True)
        return
    with step(f"give {outside.device} the address {address}"):
        links.add_address(kernel, outside.device, address)
        links.announce_addresses(kernel, outside.device)
        links.change(kernel, outside.device, up=True)
        if outside.gateway is not None:
            onlink = outside.gateway not in address.network
            links.add_default_route(kernel, outside.device, outside.gateway, onlink)
