"""Deliver what an engine changes on an interface of a running VM: addresses, routes, the MTU.

A NIC that was handed over has no address. What the engine assigns to it becomes the guest's and
leaves the NIC. A NIC that takes the place of a NIC of the start brings its own settings along.

The guest's NIC loses its carrier meanwhile. A DHCP client asks again when the carrier returns, and
the guest can't send while its filter is replaced.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Address

from attrs import evolve

from vmnet.errors import BridgeError, VmnetError
from vmnet.lifecycle.changes import hotplug, redeliver
from vmnet.lifecycle.changes.hotplug import Vm
from vmnet.model.identity import Interface, Route
from vmnet.model.machine import NicChange
from vmnet.model.wiring import Outside, Port, Redirect, Saved, Wiring
from vmnet.net import announcement, links, rtnl
from vmnet.net.kept import service as kept_ports
from vmnet.net.kernel_errors import step
from vmnet.net.restore import assigned, snapshot
from vmnet.net.restore.assigned import Assigned, Own
from vmnet.planning import nics

_log = logging.getLogger(__name__)
# A guest's driver notices only a change that lasts.
_DOWN_SECONDS = 1.0
_MOST_ADDRESSES, _MOST_ROUTES, _LEAST_MTU = 32, 64, 576
_ALL_ONES = IPv4Address("255.255.255.255")


@contextmanager
def _without_carrier() -> Iterator[None]:
    """Keep the guest's NIC without a carrier for at least so long that its driver notices."""
    end = time.monotonic() + _DOWN_SECONDS
    yield
    time.sleep(max(end - time.monotonic(), 0))


def rejoin(vm: Vm, gone: str, name: str) -> Vm:
    """Connect a new NIC in the place of a NIC that is gone, and return the changed VM.

    The guest's NIC has no carrier until then.

    :param gone: the name of the NIC that is gone
    :raises VmnetError: a step failed, or the guest can't follow the settings of the new NIC
    """
    with ExitStack() as undo:
        with _without_carrier():
            new = _on_new_nic(vm, gone, name)
            undo.callback(vm.save)
            new.save()
            _, port = _of(vm, gone)
            if port.kept is not None and name != gone:
                kept_ports.remove([port])  # the table has the old name
            vm.hooks.rejoin_bridge(_alone(new, name))
            _serve(vm, new, name, undo)
            _restart_outside(new, name)
        set_carrier(new, name, up=True)
        undo.pop_all()
    return new


def _on_new_nic(vm: Vm, gone: str, name: str) -> Vm:
    """Return the VM with a new NIC in the place of a NIC that is gone."""
    old, port = _of(vm, gone)
    with step(f"follow the setup of {name}"):
        hotplug.await_setup(name)
        (found,) = hotplug.capture(vm.hooks, name).interfaces
        with rtnl.Rtnl() as kernel:
            (saved,) = snapshot.take(kernel, [name])
    interface = evolve(found, mac=port.guest_mac, mtu=min(found.mtu, port.mtu))
    before = evolve(old, name=name)
    interfaces = tuple(before if own == old else own for own in vm.identity.interfaces)
    ports = tuple(evolve(own, uplink=name) if own == port else own for own in vm.wiring.ports)
    renamed = evolve(
        vm,
        identity=evolve(vm.identity, interfaces=interfaces),
        wiring=evolve(vm.wiring, ports=ports),
    )
    return _planned(renamed, before, interface, saved)


def _restart_outside(vm: Vm, name: str) -> None:
    """Restart the daemons that use the way out of a redirected NIC, which is new like the NIC."""
    _, port = _of(vm, name)
    if isinstance(port.way_out, Outside):
        for delivery in vm.hooks.deliver(vm.identity, vm.wiring):
            for daemon in delivery.daemons:
                redeliver.restart(daemon)


def change(vm: Vm, name: str, most_mtu: int, slot: int | None = None) -> tuple[Vm, str]:
    """Deliver what was assigned to a NIC that was handed over.

    :param most_mtu: the largest MTU that the guest's NIC can have
    :returns: the changed VM, and a text for the log; empty if nothing has changed
    :raises VmnetError: a step failed. The next start then delivers the change
    """
    interface, port = _of(vm, name)
    with step(f"read the addresses of {name}"):
        hotplug.await_setup(name, has_address=True)
        with rtnl.Rtnl() as kernel:
            found = assigned.read(kernel, name)
            if _has_own_addresses(port):
                found = found.addresses_alone
            mtu = min(links.get(kernel, name).get_attr("IFLA_MTU"), most_mtu)
    changed = merged(interface, _acceptable(interface, found, vm.identity.interfaces), mtu)
    if changed == interface:
        _clear(vm, name)
        return vm, ""
    addresses = (*changed.addresses, *_waiting(interface, port.saved, found))
    saved = assigned.merged(port.saved, found.messages, addresses)
    at_next_start = _with(vm, evolve(port, saved=saved))
    at_next_start.save()
    try:
        new = _planned(vm, interface, changed, saved)
    except VmnetError:
        _clear(vm, name)
        raise
    with ExitStack() as undo:
        undo.callback(set_carrier, vm, name, slot, up=True)
        undo.callback(at_next_start.save)
        undo.callback(vm.hooks.rejoin_bridge, _alone(vm, name))
        set_carrier(vm, name, slot, up=False)
        with _without_carrier():
            new.save()
            vm.hooks.rejoin_bridge(_alone(new, name))
            _serve(vm, new, name, undo)
        set_carrier(new, name, slot, up=True)
        undo.pop_all()
    return new, f"{name} was changed: the guest gets {describe(changed)}"


def _waiting(interface: Interface, saved: Saved, found: Assigned) -> Iterator[Own]:
    """Yield the addresses that earlier changes brought and that wait for the next start."""
    replaced = {own.ip for own in (*found.addresses, *found.withdrawn)}
    for own in assigned.addresses(saved):
        if own not in interface.addresses and own.ip not in replaced:
            yield own


def describe(interface: Interface) -> str:
    addresses = " ".join(map(str, interface.addresses)) or "no address"
    return f"{addresses}, MTU {interface.guest_mtu}"


def merged(interface: Interface, found: Assigned, mtu: int) -> Interface:
    """Return an interface with what was assigned to its NIC since.

    A new route replaces that to the same destination. A route whose gateway or source address is
    no longer on the link goes.
    """
    again = {own.ip for own in found.addresses if own not in interface.addresses}
    gone = again | {own.ip for own in found.withdrawn}
    kept = [own for own in interface.addresses if own.ip not in gone]
    new = [own for own in found.addresses if own not in kept]
    addresses = tuple(sorted((*kept, *new), key=lambda own: own.version))
    slots = {(route.destination, route.metric) for route in found.routes}
    old = (route for route in interface.routes if (route.destination, route.metric) not in slots)
    networks = {own.network for own in addresses}
    changed = evolve(
        interface,
        mtu=mtu if mtu >= _LEAST_MTU else interface.mtu,
        addresses=addresses,
        off_link=tuple(network for network in interface.off_link if network in networks),
    )
    routes = tuple(route for route in (*old, *found.routes) if _is_usable(route, changed))
    return evolve(changed, routes=routes[:_MOST_ROUTES])


def _is_usable(route: Route, interface: Interface) -> bool:
    own = {address.ip for address in interface.addresses}
    if route.source is not None and route.source not in own:
        return False
    gateway = route.gateway
    if gateway is None or route.onlink:
        return True
    return gateway.is_link_local or any(gateway in own.network for own in interface.addresses)


def _acceptable(interface: Interface, found: Assigned, all_: Iterable[Interface]) -> Assigned:
    """Return what was assigned to an interface without addresses that the guest can't have."""
    name, interfaces = interface.name, tuple(all_)
    taken = {own.ip for other in interfaces if other != interface for own in other.addresses}
    gateways = {route.gateway for other in interfaces for route in other.routes}
    gateways |= {route.gateway for route in found.routes}
    good = []
    for own in found.addresses:
        if _is_special(own) or own.ip in taken or own.ip in gateways:
            _log.warning(
                "%s: %s can't be an address of the guest: ignored",
                name,
                own,
                extra={"event": "network.address_ignored"},
            )
        else:
            good.append(own)
    if len(good) > _MOST_ADDRESSES:
        _log.warning(
            "%s: more than %d new addresses: ignored",
            name,
            _MOST_ADDRESSES,
            extra={"event": "network.address_ignored"},
        )
    return evolve(found, addresses=tuple(good[:_MOST_ADDRESSES]))


def _is_special(own: Own) -> bool:
    address = own.ip
    return (
        address.is_multicast
        or address.is_loopback
        or address.is_unspecified
        or address.is_link_local
        or address == _ALL_ONES
    )


def set_carrier(vm: Vm, name: str, slot: int | None = None, *, up: bool) -> None:
    """Set the carrier of a guest's NIC.

    :param slot: the slot of a NIC that was added while the VM runs
    :raises VmnetError: the hypervisor refused
    """
    interface, port = _of(vm, name)
    own = f"net{vm.wiring.ports.index(port)}" if slot is None else hotplug.nic_name(slot)
    nic = nics.nic(vm.hooks.settings, own, interface, port)
    vm.hooks.change_nic(vm.command, NicChange("up" if up else "down", nic))


def _planned(vm: Vm, before: Interface, after: Interface, saved: Saved) -> Vm:
    """Return the VM with a changed interface, and a port for it.

    :raises VmnetError: the running VM can't follow the change
    """
    interfaces = tuple(after if own == before else own for own in vm.identity.interfaces)
    identity, wiring = evolve(vm.identity, interfaces=interfaces), vm.wiring
    if after != before:
        if not vm.hooks.plugins.implements(wiring.strategy, "vmnet_bridge_change"):
            raise BridgeError(f"the strategy {wiring.strategy} can't change a running VM", "")
        if allocators := vm.hooks.allocators:
            raise BridgeError(f"{allocators[0]} allocates addresses only at a start", "")
        requirements = vm.hooks.requirements(identity)
        wiring = vm.hooks.change_bridge(identity, requirements, wiring)
    new = evolve(vm, identity=identity, wiring=wiring)
    _, port = _of(new, after.name)
    return _with(new, evolve(port, saved=saved))


def _serve(before: Vm, after: Vm, name: str, undo: ExitStack) -> None:
    """Serve the changed settings to the guest, and announce its addresses."""
    hotplug.deliver(before, after, undo)
    outside = after.hooks.requirements(after.identity).any_address
    after.save_nics(outside)
    if not outside:
        interface, port = _of(after, name)
        addresses = (own.ip for own in interface.addresses)
        announcement.announce_by_uplink(name, port.guest_mac, addresses)


def _has_own_addresses(port: Port) -> bool:
    """Whether vmnet has given the NIC addresses and routes, to serve kept ports."""
    return isinstance(port.path, Redirect) and port.kept is not None


def _clear(vm: Vm, name: str) -> None:
    """Take what was assigned from a NIC that was handed over."""
    if _has_own_addresses(_of(vm, name)[1]):
        vm.hooks.rejoin_bridge(_alone(vm, name))
        return
    with step(f"take the addresses from {name}"), rtnl.Rtnl() as kernel:
        links.delete_addresses(kernel, name)
        links.delete_routes(kernel, name)


def _of(vm: Vm, name: str) -> tuple[Interface, Port]:
    return next(pair for pair in vm.wiring.pairs(vm.identity) if pair[0].name == name)


def _with(vm: Vm, port: Port) -> Vm:
    """Return the VM with a changed port."""
    ports = tuple(port if own.uplink == port.uplink else own for own in vm.wiring.ports)
    return evolve(vm, wiring=evolve(vm.wiring, ports=ports))


def _alone(vm: Vm, name: str) -> Wiring:
    return evolve(vm.wiring, ports=(_of(vm, name)[1],))
