"""Make the wiring, and unmake it from whatever state it is in."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from ipaddress import IPv4Address

from vmnet.net import (
    antispoof,
    containment,
    links,
    neighbours,
    reception,
    replay,
    rtnl,
    tap,
)
from vmnet.net.matching import mac_bytes
from vmnet.net.steps import step
from vmnet.wiring import Port, Wiring

_log = logging.getLogger(__name__)


def build(wiring: Wiring) -> None:
    """Make every tap, then every bridge.

    :raises PrivilegeError: a capability or device is missing; nothing has changed
    :raises BridgeError: the kernel refused a step
    """
    for port in wiring.ports:
        for fd in port.tap_fds:
            tap.open_tap(port.tap, fd)
    with step("speak to the kernel"), rtnl.Rtnl() as kernel:
        for port in wiring.ports:
            _build_port(kernel, port)


def _build_port(kernel: rtnl.Rtnl, port: Port) -> None:
    with step(f"make the bridge {port.bridge}"):
        links.add_bridge(kernel, port.bridge, port.bridge_mac, port.mtu)
        links.silence_ipv6(kernel, port.bridge)
        links.answer_own_addresses_only(kernel, port.bridge)
        links.forward_nothing(kernel, port.bridge)
        links.disable_tx_checksum(port.bridge)
        bridge = links.index(port.bridge)
    _filter(kernel, port)
    # The guest's MAC is written down, and neither port learns any: of two ports, what one sends is
    # for the other. A guest that may be several machines has further MACs, and those may move to
    # the network (VRRP), which a port that has learned them would not let through.
    is_several = port.sender is None
    with step(f"move {port.uplink} to {port.bridge}"):
        links.change(kernel, port.uplink, up=False)
        links.delete_addresses(kernel, port.uplink)
        links.silence_ipv6(kernel, port.uplink)
        links.change(kernel, port.uplink, mac=port.uplink_mac, master=bridge)
        links.set_bridge_port(kernel, port.uplink, learning=False, flood=True)
        links.change(kernel, port.uplink, up=True)
    with step(f"connect {port.tap} to {port.bridge}"):
        links.silence_ipv6(kernel, port.tap)
        links.forward_nothing(kernel, port.tap)
        links.change(kernel, port.tap, mtu=port.mtu, master=bridge)
        links.set_bridge_port(kernel, port.tap, learning=False, flood=is_several)
        neighbours.add_forwarding_entry(kernel, port.tap, mac_bytes(port.guest_mac))
        links.change(kernel, port.tap, up=True)
    with step(f"give {port.bridge} the address {port.bridge_address}"):
        links.add_address(kernel, port.bridge, port.bridge_address)
        if port.link_local is not None:
            links.announce_addresses(kernel, port.bridge)
            links.add_address(kernel, port.bridge, port.link_local)
        links.change(kernel, port.bridge, up=True)
        for address in port.owned:
            if isinstance(address, IPv4Address):
                neighbours.add_neighbour(kernel, port.bridge, address, mac_bytes(port.guest_mac))
        for address in port.guest_addresses:  # reached from the link-local address as well
            links.add_host_route(kernel, port.bridge, address)
        if port.gateway is not None:
            onlink = port.gateway not in port.bridge_address.network
            links.add_default_route(kernel, port.bridge, port.gateway, onlink)


def _filter(kernel: rtnl.Rtnl, port: Port) -> None:
    """Before the guest can speak. A kernel without the filters is reported, and lived with."""
    with step(f"filter {port.uplink}, {port.tap} and {port.bridge}"):
        can = (
            containment.contain(kernel, port)
            and antispoof.filter_tap(kernel, port)
            and reception.filter_bridge(kernel, port)
        )
    if not can:
        lacks = "the kernel lacks clsact or cls_bpf"
        _log.warning("%s is not filtered (%s): %s", port.uplink, lacks, "; ".join(_open_to(port)))


def _open_to(port: Port) -> Iterator[str]:
    """What a port is open to without its filters."""
    if port.contain:
        yield "another DHCP server on its network may answer the guest"
    yield "its network can claim to be the guest and ask the DNS here"
    if port.sender is not None:
        yield "the guest can send from any address"
    yield "the guest reaches whatever listens in this container"


def restore(wiring: Wiring) -> None:
    """Give every uplink back what it had, from any state between untouched and fully wired.

    :raises BridgeError: the kernel refused a step, or something is not as it was in the end
    """
    with step("speak to the kernel"), rtnl.Rtnl() as kernel:
        left, gone = {}, []
        for port in wiring.ports:
            with step(f"take {port.uplink} out of {port.bridge}"):
                _remove_bridge(kernel, port)
                if not _is_there(kernel, port):
                    gone.append(port.saved)
                    continue
                left[port.uplink] = port.saved
                containment.remove(kernel, port.uplink)
                tap.close_tap(port.tap_fds)
                _restore_link(kernel, port)
        for name, saved in left.items():
            with step(f"give {name} its addresses back"):
                replay.addresses(kernel, name, saved)
                links.change(kernel, name, addr_gen_mode=saved.addr_gen_mode)
        # When all addresses are back: a route may need another's NIC.
        with step(f"give {', '.join(left)} their routes back"):
            wanted = replay.Wanted.of(left, gone)
            replay.routes(kernel, wanted)
            replay.require_same(kernel, wanted)


def _is_there(kernel: rtnl.Rtnl, port: Port) -> bool:
    """Whether the uplink is; the engine may have taken it away, and given its name to another."""
    found = links.find(kernel, port.uplink)
    return found is not None and found.get_attr("IFLA_ADDRESS") in (port.uplink_mac, port.guest_mac)


def _remove_bridge(kernel: rtnl.Rtnl, port: Port) -> None:
    """Delete our bridge, recognised by the MAC we gave it; a stranger of that name stays."""
    bridge = links.find(kernel, port.bridge)
    if bridge is not None and bridge.get_attr("IFLA_ADDRESS") == port.bridge_mac:
        links.delete(kernel, port.bridge)


def _restore_link(kernel: rtnl.Rtnl, port: Port) -> None:
    """The MAC and the state that the NIC had, touching neither if they are right.

    It makes no IPv6 address of its own while it goes up: it gets back the one that it had.
    """
    now, saved = links.get(kernel, port.uplink), port.saved
    is_up = bool(now["flags"] & links.IFF_UP)
    if (now.get_attr("IFLA_ADDRESS"), is_up) != (port.guest_mac, saved.up):
        links.change(kernel, port.uplink, up=False)
        links.silence_ipv6(kernel, port.uplink)
        links.change(kernel, port.uplink, mac=port.guest_mac)
    # The kernel gives a NIC without a queue one of a thousand frames when it gets a filter.
    links.change(kernel, port.uplink, up=saved.up, queue_length=saved.queue_length)
