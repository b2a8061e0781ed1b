"""Carry out a plan, and undo it if a step fails."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import NoReturn

from vmnet.errors import BridgeError, LaunchError, PrivilegeError, VmnetError
from vmnet.hooks.facade import Hooks
from vmnet.lifecycle import (
    command_record,
    deliver,
    helpers,
    privileges,
    run_directory,
    saved_vm,
    state,
    stop_signals,
    vm_record,
)
from vmnet.lifecycle.changes import uplink_description, uplink_record
from vmnet.model.devices import Disk
from vmnet.model.firmware import Firmware
from vmnet.model.machine import Machine
from vmnet.model.wiring import Wiring
from vmnet.net import announcement, device
from vmnet.pipeline import Plan
from vmnet.planning.nics import described
from vmnet.planning.storage import state_folder
from vmnet.settings.core import HOTPLUG, INTERFACES, RUN_DIR
from vmnet.settings.table import Settings

_log = logging.getLogger(__name__)


def start(hooks: Hooks, plan: Plan, there: frozenset[int] | None = None) -> NoReturn:
    """Build, deliver and launch; on any failure run all undos, newest first.

    :param there: the indexes of the network devices before planning; None: those of now
    :raises VmnetError: a step failed, and the start is undone
    :raises InterruptedStartError: a stop signal arrived, and the start is undone
    """
    stop_signals.interruptible()
    stop_signals.refuse_pending()
    undo = ExitStack()
    try:
        now = device_indexes()
        _carry_out(hooks, plan, now - (now if there is None else there), undo)
    except BaseException as error:
        stop_signals.ignore()  # a second signal must not interrupt the undos
        undo.__exit__(type(error), error, error.__traceback__)
        raise


def _carry_out(hooks: Hooks, plan: Plan, late: frozenset[int], undo: ExitStack) -> NoReturn:
    """Carry out the steps of a start.

    It first denies new privileges to all children, and later, before the guard, all privileges.
    """
    if plan.command.user is not None:
        privileges.refuse_new()
    run_directory.make(hooks.settings[RUN_DIR])
    lock = _lock_state(plan.machine, hooks.settings, undo)
    _prepare_disks(plan.machine, undo)
    _prepare_firmware(plan.machine.firmware, undo)
    state.save(hooks.settings[RUN_DIR], plan.identity, plan.wiring)
    undo.push(partial(_restore, hooks, plan.wiring))
    hooks.build_bridge(plan.wiring)
    for delivery in plan.deliveries:
        deliver.deliver(delivery, undo)
    for daemon in plan.device_daemons:
        deliver.start(daemon, undo)
    if plan.exporter is not None:
        deliver.start(plan.exporter, undo)
    accelerator = plan.machine.accelerator
    known = device_indexes() - late | _own_indexes(plan.wiring)
    started = helpers.start(plan.command, accelerator, plan.daemons, hooks.settings, undo, known)
    _write_records(plan, started, hooks.settings, late, undo)
    _announce(plan)
    if lock is not None:
        os.set_inheritable(lock, True)  # by the hypervisor alone, not by the helpers
    hooks.launch(plan.command)
    raise LaunchError("the launch strategy returned instead of executing the hypervisor")


def _announce(plan: Plan) -> None:
    """Make the guest's MAC and addresses known on its networks, if it is certain to have them."""
    for interface, port in plan.wiring.pairs(plan.identity):
        if port.tap is not None and interface.addresses and not plan.outside:
            addresses = (address.ip for address in interface.addresses)
            announcement.announce(port.uplink, port.tap.fds[0], port.guest_mac, addresses)


def _lock_state(machine: Machine, settings: Settings, undo: ExitStack) -> int | None:
    """Lock the folder of VMNET_DISK_STATE if the machine uses it, and return the descriptor."""
    folder = state_folder.of(settings, machine.devices, machine.firmware)
    if not folder.is_used:
        return None
    from vmnet.lifecycle import state_folder as folders

    return folders.hold(folder, machine.name, undo)


def _prepare_disks(machine: Machine, undo: ExitStack) -> None:
    if any(isinstance(device, Disk) for device in machine.devices):
        from vmnet.lifecycle import disks

        disks.prepare(machine.devices, undo)
        disks.record_use(machine.devices, machine.name)


def _prepare_firmware(chosen: Firmware, undo: ExitStack) -> None:
    if chosen.variables is not None:
        from vmnet.lifecycle import firmware

        firmware.prepare(chosen.variables, undo)


def _write_records(
    plan: Plan,
    helpers: Iterable[vm_record.Helper],
    settings: Settings,
    late: frozenset[int],
    undo: ExitStack,
) -> None:
    run_dir = settings[RUN_DIR]
    addresses = vm_record.expected(plan.identity, outside=plan.outside)
    undo.callback(uplink_record.discard, run_dir)
    with _reading_devices():
        devices = device.devices()
    record = uplink_description.describe(plan.wiring, devices, late)
    uplink_record.save(run_dir, record)
    undo.callback(command_record.discard, run_dir)
    command_record.save(run_dir, plan.command)
    undo.callback(vm_record.discard, run_dir)
    firmware = plan.machine.firmware.described
    nics = map(described, plan.machine.nics)
    vm = vm_record.describe(plan.command, plan.wiring, addresses, helpers, firmware, devices=nics)
    vm_record.save(run_dir, vm)
    if saved_vm.exists(run_dir):
        from vmnet.lifecycle import resume

        resume.prepare(run_dir, plan.command, vm.nics, undo)
    wanted = settings[INTERFACES]
    is_given = settings[HOTPLUG] > 0 and not record.is_user_mode
    if not is_given and uplink_record.appeared(record, devices, wanted):
        # Connected during planning. The keeper handles NICs that the guest gets, or appear later.
        from vmnet.lifecycle.changes import uplink_changes

        uplink_changes.log_changes(run_dir, os.environ)


def _own_indexes(wiring: Wiring) -> frozenset[int]:
    """Return the indexes of the devices that the start has made."""
    own = {
        name
        for port in wiring.ports
        for name in (
            port.tap.name if port.tap else "",
            port.local.device if port.local else "",
            port.way_out.device if port.way_out else "",
        )
    }
    with _reading_devices():
        found = device.devices().values()
    return frozenset(nic.index for nic in found if nic.name in own)


def device_indexes() -> frozenset[int]:
    """Return the indexes of the network devices, from which :func:`start` recognises later ones.

    :raises BridgeError: the kernel refused
    """
    with _reading_devices():
        return device.numbers()


@contextmanager
def _reading_devices() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BridgeError(
            f"can't read the network devices: {error.strerror or error}",
            "the container's seccomp profile must allow netlink sockets, as the engines' default "
            "profiles do",
        ) from None


def _restore(hooks: Hooks, wiring: Wiring, _: object, cause: object, __: object) -> None:
    """Restore the network, and keep the saved state for the next start if that fails.

    :param cause: the error of the start
    """
    try:
        hooks.restore_bridge(wiring)
    except VmnetError as error:
        hint = error.hint
        if isinstance(error, PrivilegeError):
            if isinstance(cause, PrivilegeError):
                # Without this privilege the start changed nothing. Its own error is reported.
                _log.debug("nothing to restore")
                state.discard(hooks.settings[RUN_DIR])
                return
            hint = "the start has given up its capabilities already; the next start restores it"
        _log.error(
            "the network could not be restored: %s",
            error,
            extra={"event": "network.restore_failed", "hint": hint},
        )
        return
    state.discard(hooks.settings[RUN_DIR])
    _log.info("the network is as it was before the start", extra={"event": "network.restored"})
