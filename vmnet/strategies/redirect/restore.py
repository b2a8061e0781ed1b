"""Restore the uplinks, from any state between untouched and redirected."""

from __future__ import annotations

from vmnet.api import Port, Wiring, containment, links, replay, rtnl, snapshot, step, tap
from vmnet.strategies.redirect.ends import Ends


def restore(wiring: Wiring) -> None:
    """Remove the redirections and taps, and restore every uplink.

    :raises BridgeError: the kernel refused a step, or an uplink differs from its saved state
    """
    if any(port.kept is not None for port in wiring.ports):
        from vmnet.api import kept_ports

        kept_ports.remove(wiring.ports)
    if any(port.localhost for port in wiring.ports):
        from vmnet.api import localhost

        localhost.remove(wiring.ports)
    with step("open an rtnetlink socket"), rtnl.Rtnl() as kernel:
        present, gone = {}, []
        for ends in map(Ends.of, wiring.ports):
            port = ends.port
            with step(f"take {port.uplink} from the guest"):
                tap.close_tap(ends.tap.fds)
                _remove_outside(kernel, ends)
                if not _has_uplink(kernel, port):
                    gone.append(port.saved)
                    continue
                present[port.uplink] = port.saved
                containment.remove(kernel, port.uplink)
                _restore_link(kernel, ends)
        replay.everything(kernel, present, gone)


def _has_uplink(kernel: rtnl.Rtnl, port: Port) -> bool:
    """Return whether the uplink exists, by its MAC and index.

    The engine may have removed it and given its name to another NIC.
    """
    link = links.find(kernel, port.uplink)
    has_mac = link is not None and link.get_attr("IFLA_ADDRESS") == port.guest_mac
    return has_mac and snapshot.is_of(port.saved, link["index"])


def _remove_outside(kernel: rtnl.Rtnl, ends: Ends) -> None:
    """Delete the way out if it has the MAC that vmnet gave it."""
    outside = ends.path.outside
    if outside is not None:
        link = links.find(kernel, outside.device)
        if link is not None and link.get_attr("IFLA_ADDRESS") == outside.mac:
            links.delete(kernel, outside.device)


def _restore_link(kernel: rtnl.Rtnl, ends: Ends) -> None:
    """Restore the NIC's link state, flags and queue length.

    The kernel must not generate an IPv6 address when the NIC goes up, because the saved addresses
    include it.
    """
    uplink, saved = ends.port.uplink, ends.port.saved
    if ends.path.shares_mac:  # its addresses lack the kernel's routes to them
        links.delete_addresses(kernel, uplink)
    if ends.port.kept is not None:
        from vmnet.api import kept_ports

        kept_ports.remove_uplink_addresses(kernel, ends.port, ends.port.kept)
    is_up = bool(links.get(kernel, uplink)["flags"] & links.IFF_UP)
    if is_up != saved.up:
        links.disable_ipv6_link_local(kernel, uplink)
    links.set_flags(kernel, uplink, ends.path.flags, links.REDIRECTED)
    # When a NIC without a queue gets a filter, the kernel sets its queue length to 1000.
    links.change(kernel, uplink, up=saved.up, queue_length=saved.queue_length)
