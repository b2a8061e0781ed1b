"""Build the wiring, and restore the uplinks from any state of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from ipaddress import IPv4Address

from vmnet.model.wiring import Port, Wiring
from vmnet.net import links, neighbours, rtnl, tap
from vmnet.net.filters import antispoof, containment, reception
from vmnet.net.kernel_errors import step
from vmnet.net.packets import mac_bytes
from vmnet.net.restore import replay

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
    with step(f"create the bridge {port.bridge}"):
        links.add_bridge(kernel, port.bridge, port.bridge_mac, port.mtu)
        links.disable_ipv6_link_local(kernel, port.bridge)
        links.answer_own_addresses_only(kernel, port.bridge)
        links.disable_ipv4_forwarding(kernel, port.bridge)
        links.disable_tx_checksum(port.bridge)
        bridge = links.index(port.bridge)
    _filter(kernel, port)  # before the guest can send
    # The guest's MAC is a static entry, and neither port learns MACs: with two ports, a frame from
    # one port is for the other. Without a filter, the guest may have further MACs. If the tap
    # learned them, the guest could not reach a MAC that has moved to the network (VRRP).
    has_further_macs = port.sender is None
    with step(f"move {port.uplink} to {port.bridge}"):
        links.change(kernel, port.uplink, up=False)
        links.delete_addresses(kernel, port.uplink)
        links.disable_ipv6_link_local(kernel, port.uplink)
        links.change(kernel, port.uplink, mac=port.uplink_mac, master=bridge)
        links.set_bridge_port(kernel, port.uplink, learning=False, flood=True)
        links.change(kernel, port.uplink, up=True)
    with step(f"connect {port.tap} to {port.bridge}"):
        links.disable_ipv6_link_local(kernel, port.tap)
        links.disable_ipv4_forwarding(kernel, port.tap)
        links.change(kernel, port.tap, mtu=port.mtu, master=bridge)
        links.set_bridge_port(kernel, port.tap, learning=False, flood=has_further_macs)
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


def restore(wiring: Wiring) -> None:
    """Restore every uplink, from any state between untouched and fully wired.

    :raises BridgeError: the kernel refused a step, or an uplink differs from its saved state
    """
    with step("open an rtnetlink socket"), rtnl.Rtnl() as kernel:
        present, gone = {}, []
        for port in wiring.ports:
            with step(f"take {port.uplink} out of {port.bridge}"):
                _remove_bridge(kernel, port)
                if not _has_uplink(kernel, port):
                    gone.append(port.saved)
                    continue
                present[port.uplink] = port.saved
                containment.remove(kernel, port.uplink)
                tap.close_tap(port.tap_fds)
                _restore_link(kernel, port)
        for name, saved in present.items():
            with step(f"restore the addresses of {name}"):
                replay.addresses(kernel, name, saved)
                links.change(kernel, name, addr_gen_mode=saved.addr_gen_mode)
        # After the addresses of all NICs, because a route may depend on another NIC's address.
        with step(f"restore the routes of {', '.join(present)}"):
            wanted = replay.Wanted.of(present, gone)
            replay.routes(kernel, wanted)
            replay.require_same(kernel, wanted)


def _has_uplink(kernel: rtnl.Rtnl, port: Port) -> bool:
    """Return whether the uplink exists, by its MAC.

    The engine may have removed it and given its name to another NIC.
    """
    link = links.find(kernel, port.uplink)
    return link is not None and link.get_attr("IFLA_ADDRESS") in (port.uplink_mac, port.guest_mac)


def _remove_bridge(kernel: rtnl.Rtnl, port: Port) -> None:
    """Delete the bridge if it has the MAC that vmnet gave it."""
    bridge = links.find(kernel, port.bridge)
    if bridge is not None and bridge.get_attr("IFLA_ADDRESS") == port.bridge_mac:
        links.delete(kernel, port.bridge)


def _restore_link(kernel: rtnl.Rtnl, port: Port) -> None:
    """Restore the NIC's MAC, link state and queue length.

    Set it down only if its MAC or state differs. The kernel must not generate an IPv6 address when
    the NIC goes up, because the saved addresses include it.
    """
    now, saved = links.get(kernel, port.uplink), port.saved
    is_up = bool(now["flags"] & links.IFF_UP)
    if (now.get_attr("IFLA_ADDRESS"), is_up) != (port.guest_mac, saved.up):
        links.change(kernel, port.uplink, up=False)
        links.disable_ipv6_link_local(kernel, port.uplink)
        links.change(kernel, port.uplink, mac=port.guest_mac)
    # When a NIC without a queue gets a filter, the kernel sets its queue length to 1000.
    links.change(kernel, port.uplink, up=saved.up, queue_length=saved.queue_length)
