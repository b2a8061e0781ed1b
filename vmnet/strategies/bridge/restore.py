"""Restore the uplinks, from any state between untouched and connected to their bridges."""

from __future__ import annotations

from vmnet.api import (
    Port,
    Wiring,
    containment,
    links,
    replay,
    rtnl,
    snapshot,
    step,
    tap,
)
from vmnet.strategies.bridge.bridged import Bridged


def restore(wiring: Wiring) -> None:
    """Remove the bridges and taps, and restore every uplink.

    :raises BridgeError: the kernel refused a step, or an uplink differs from its saved state
    """
    _remove_rules(wiring)
    with step("open an rtnetlink socket"), rtnl.Rtnl() as kernel:
        present, gone = {}, []
        for bridged in map(Bridged.of, wiring.ports):
            port = bridged.port
            with step(f"take {port.uplink} out of {bridged.bridge.device}"):
                _remove_bridge(kernel, bridged)
                if not _has_uplink(kernel, bridged):
                    gone.append(port.saved)
                    continue
                present[port.uplink] = port.saved
                containment.remove(kernel, port.uplink)
                tap.close_tap(bridged.tap.fds)
                _restore_link(kernel, port)
        replay.everything(kernel, present, gone)


def _remove_rules(wiring: Wiring) -> None:
    if any(port.kept is not None for port in wiring.ports):
        from vmnet.api import kept_ports

        kept_ports.remove(wiring.ports)
    if any(port.localhost for port in wiring.ports):
        from vmnet.api import localhost

        localhost.remove(wiring.ports)


def _has_uplink(kernel: rtnl.Rtnl, bridged: Bridged) -> bool:
    """Return whether the uplink exists, by its MAC and index.

    The engine may have removed it and given its name to another NIC.
    """
    port, macs = bridged.port, (bridged.uplink_mac, bridged.port.guest_mac)
    link = links.find(kernel, port.uplink)
    has_mac = link is not None and link.get_attr("IFLA_ADDRESS") in macs
    return has_mac and snapshot.is_of(port.saved, link["index"])


def _remove_bridge(kernel: rtnl.Rtnl, bridged: Bridged) -> None:
    """Delete the bridge if it has the MAC that vmnet gave it."""
    bridge = links.find(kernel, bridged.bridge.device)
    if bridge is not None and bridge.get_attr("IFLA_ADDRESS") == bridged.bridge.mac:
        links.delete(kernel, bridged.bridge.device)


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
