"""Give a running VM the networks that are connected to its container, and take them away again.

When a network device changes, the keeper runs :mod:`vmnet.lifecycle.changes.uplink_changes`, which
calls this module. It uses the stages of a start for a single interface: capture, plan, build,
deliver. A step that fails is undone, and the rest of the VM goes on.
"""

from __future__ import annotations

import fcntl
import logging
import os
import select
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from attrs import evolve

from vmnet import pipeline
from vmnet.errors import BridgeError, CaptureError, MachineError, VmnetError
from vmnet.hooks.facade import Hooks
from vmnet.lifecycle import command_record, helpers, state, vm_record
from vmnet.lifecycle.changes import redeliver
from vmnet.model.base import frozen
from vmnet.model.identity import Identity
from vmnet.model.machine import Command, NicChange
from vmnet.model.wiring import Port, Wiring
from vmnet.net import announcement, device, links
from vmnet.net.kernel_errors import step
from vmnet.planning import nics
from vmnet.settings.core import HOST_NETWORK, INTERFACES, INTERFACES_TIMEOUT, RUN_DIR

_log = logging.getLogger(__name__)
# Links, and the addresses and routes of IPv4 and IPv6: RTMGRP_… in linux/rtnetlink.h, rtnetlink(7).
_GROUPS = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
_SETUP_SECONDS, _QUIET_SECONDS = 2.0, 0.1


@frozen
class Vm:
    """The running VM, as its files describe it."""

    hooks: Hooks
    identity: Identity
    wiring: Wiring
    command: Command

    @property
    def run_dir(self) -> Path:
        return self.hooks.settings[RUN_DIR]

    def save(self) -> None:
        """Write the state, from which the next start restores the network."""
        state.save(self.run_dir, self.identity, self.wiring)

    def save_nics(self, outside: bool) -> None:
        """Write the NICs for the commands that examine the VM."""
        record = vm_record.load(self.run_dir)
        if record is not None:
            addresses = vm_record.expected(self.identity, outside=outside)
            found = vm_record.guest_nics(self.wiring, addresses, self._devices(record))
            vm_record.save(self.run_dir, evolve(record, nics=found))

    def _devices(self, record: vm_record.VmRecord) -> Iterator[str]:
        """Yield each NIC in words: those of the record as they are, because the host may change."""
        known = {nic.mac: nic.device for nic in record.nics}
        for interface, port in self.wiring.pairs(self.identity):
            new = nics.nic(self.hooks.settings, "", interface, port)
            yield known.get(port.guest_mac) or nics.described(new)


def find(environ: Mapping[str, str], run_dir: Path) -> Vm:
    """Return the running VM.

    :raises VmnetError: its files can't be read, or a plugin can't be loaded
    """
    hooks = pipeline.select(environ)
    saved = state.load(run_dir, hooks.restorers)
    if saved is None:
        raise BridgeError("the VM's saved state is gone", "restart the container")
    return Vm(hooks, saved.identity, saved.wiring, command_record.load(run_dir))


@contextmanager
def exclusive(run_dir: Path) -> Iterator[None]:
    """Wait until no other process changes the VM's networks; the keeper limits the wait."""
    lock = os.open(run_dir / "hotplug.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def plug(vm: Vm, name: str, slot: int) -> Vm:
    """Hand the interface of that name to the guest as a new NIC, and return the changed VM.

    :raises VmnetError: a step failed, and the plug is undone
    """
    _refuse_fixed(vm)
    with step(f"follow the setup of {name}"):
        await_setup(name)
    identity = _with_interface(vm.identity, capture(vm.hooks, name))
    requirements = vm.hooks.requirements(identity)
    wiring = vm.hooks.extend_bridge(identity, requirements, vm.wiring)
    new = evolve(vm, identity=identity, wiring=wiring)
    port = next(port for port in wiring.ports if port.uplink == name)
    with ExitStack() as undo:
        undo.callback(vm.save)
        new.save()
        undo.callback(vm.hooks.restore_bridge, _alone(wiring, port))
        vm.hooks.build_bridge(_alone(wiring, port))
        deliver(vm, new, undo)
        if port.tap is not None and not requirements.any_address:
            addresses = (own.ip for own in identity.interfaces[-1].addresses)
            announcement.announce(name, port.tap.fds[0], port.guest_mac, addresses)
        nic = nics.nic(vm.hooks.settings, nic_name(slot), identity.interfaces[-1], port)
        vm.hooks.change_nic(vm.command, NicChange("plug", nic, slot))
        undo.callback(vm.hooks.change_nic, vm.command, NicChange("unplug", nic, slot))
        new.save_nics(requirements.any_address)
        undo.pop_all()
    return new


def unplug(vm: Vm, name: str, slot: int) -> str:
    """Remove the NIC of an interface that is gone, or whose :func:`plug` was interrupted.

    :returns: why the guest did not release the NIC; empty if it did
    :raises VmnetError: a step failed
    """
    port = next((port for port in vm.wiring.ports if port.uplink == name), None)
    if port is None:  # an interrupted program has done it
        return ""
    left = _without(vm, name)
    with ExitStack() as undo:
        deliver(vm, left, undo)
        undo.pop_all()
    trouble = ""
    try:
        interface = next(own for own in vm.identity.interfaces if own.name == name)
        nic = nics.nic(vm.hooks.settings, nic_name(slot), interface, port)
        vm.hooks.change_nic(vm.command, NicChange("unplug", nic, slot))
    except VmnetError as error:
        trouble = error.message
    vm.hooks.restore_bridge(_alone(vm.wiring, port))
    left.save()
    left.save_nics(vm.hooks.requirements(vm.identity).any_address)
    return trouble


def _without(vm: Vm, name: str) -> Vm:
    interfaces = tuple(own for own in vm.identity.interfaces if own.name != name)
    ports = tuple(port for port in vm.wiring.ports if port.uplink != name)
    return evolve(
        vm,
        identity=evolve(vm.identity, interfaces=interfaces),
        wiring=evolve(vm.wiring, ports=ports),
    )


def nic_name(slot: int) -> str:
    """Return the hypervisor's name of a NIC that was added while the VM runs."""
    return f"hotplug{slot}"


def _alone(wiring: Wiring, port: Port) -> Wiring:
    return evolve(wiring, ports=(port,))


def _refuse_fixed(vm: Vm) -> None:
    """:raises MachineError: a strategy can't give a running VM another NIC"""
    if name := vm.hooks.fixed(vm.wiring):
        raise MachineError(f"the strategy {name} can't add a NIC to a running VM", "")
    if allocators := vm.hooks.allocators:
        raise MachineError(f"{allocators[0]} allocates addresses only at a start", "")


def await_setup(name: str, *, has_address: bool = False) -> None:
    """Wait until the engine has set up a NIC: its address, if it gets one, and then its routes.

    :param has_address: do not wait for an address
    """
    index, end = links.index(name), time.monotonic() + _SETUP_SECONDS
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as changes:
        changes.bind((0, _GROUPS))
        while (left := end - time.monotonic()) > 0:
            has_address = has_address or index in device.addressed()
            limit = min(left, _QUIET_SECONDS) if has_address else left
            if not select.select([changes], [], [], limit)[0]:
                return
            with suppress(OSError):  # the kernel has dropped messages
                changes.recv(1 << 16)


def capture(hooks: Hooks, name: str) -> Identity:
    """Return the identity of a container with this interface alone."""
    settings = (
        hooks.settings.replaced(INTERFACES, (name,))
        .replaced(INTERFACES_TIMEOUT, 1)
        .replaced(HOST_NETWORK, "take")  # the start has checked this, and VMNET_LOST_ROUTES
    )
    captured = evolve(hooks, settings=settings).capture()
    if [interface.name for interface in captured.interfaces] != [name]:
        raise CaptureError(f"the capture strategy did not return {name} alone", "")
    return captured


def _with_interface(identity: Identity, captured: Identity) -> Identity:
    """Return the identity with the captured interface, and the name of its network."""
    known = identity.resolver.networks
    networks = (*known, *(own for own in captured.resolver.networks if own not in known))
    return evolve(
        identity,
        interfaces=(*identity.interfaces, *captured.interfaces),
        resolver=evolve(identity.resolver, networks=networks),
    )


def deliver(before: Vm, after: Vm, undo: ExitStack) -> None:
    """Replace the deliveries of a running VM, as far as they differ."""
    hooks = before.hooks
    old = hooks.deliver(before.identity, before.wiring) if before.wiring.ports else ()
    new = hooks.deliver(after.identity, after.wiring) if after.wiring.ports else ()
    for daemon in redeliver.redeliver(old, new, undo):
        helpers.keep_further(daemon, hooks.settings)
