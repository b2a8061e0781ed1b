"""Carry out a plan, and undo it if a step fails."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

from vmnet import process
from vmnet.errors import (
    BridgeError,
    DeliveryError,
    InterruptedStartError,
    LaunchError,
    PrivilegeError,
    StateError,
    VmnetError,
)
from vmnet.hooks.facade import Hooks
from vmnet.lifecycle import (
    files,
    held_signals,
    privileges,
    run_directory,
    state,
    supervise,
    uplink_record,
    vm_record,
)
from vmnet.model.delivery import Daemon, Delivery
from vmnet.model.wiring import Wiring
from vmnet.net import device
from vmnet.pipeline import Plan
from vmnet.settings.core import INTERFACES, RUN_DIR
from vmnet.settings.table import Settings
from vmnet.supervision import processes

_log = logging.getLogger(__name__)


def recover(hooks: Hooks) -> None:
    """Restore the network that an earlier start left, then release its allocations.

    The network comes first, because vmnet reaches other systems through it.

    :raises StateError: other users can change the run directory
    :raises BridgeError: the VM of the earlier start runs
    :raises VmnetError: the network can't be restored, or an allocation not released
    """
    run_dir = hooks.settings[RUN_DIR]
    run_directory.require(run_dir)
    left = state.load(run_dir)
    if left is not None:
        if _runs(run_dir):
            raise BridgeError(
                "a VM already runs in this container and uses its network",
                "`vmnet status` shows it, and `vmnet stop` stops it",
            )
        _log.info("restoring the network that a start left in this namespace")
        _reopen(run_dir)
        hooks.restore_bridge(left.wiring)
        state.discard(run_dir)
    if state.allocations(run_dir).exists():
        from vmnet.lifecycle import allocation

        allocation.release(hooks)


def _reopen(run_dir: Path) -> None:
    """Remove the filters from NICs that appeared while the VM ran, so that they can be captured."""
    record = uplink_record.load(run_dir)
    if record is not None and record.shut:
        from vmnet.net.filters import drop_all

        drop_all.reopen(record.shut)
    uplink_record.discard(run_dir)


def _runs(run_dir: Path) -> bool:
    try:
        return vm_record.load(run_dir) is not None
    except StateError as error:  # another version of vmnet may have written it
        _log.debug("%s", error)
        return False


def interruptible() -> None:
    """Make stop signals, pending ones included, raise InterruptedStartError.

    The kernel drops a signal to PID 1 without a handler, so `docker stop` would have no effect.
    """
    _on_signals(_interrupt)
    held_signals.deliver()


def start(hooks: Hooks, plan: Plan, there: frozenset[int] | None = None) -> NoReturn:
    """Build, deliver and launch; on any failure run all undos, newest first.

    :param there: the indexes of the network devices before planning; None: those of now
    :raises VmnetError: a step failed, and the start is undone
    :raises InterruptedStartError: a stop signal arrived, and the start is undone
    """
    interruptible()
    held_signals.refuse_pending()
    undo = ExitStack()
    try:
        now = devices_there()
        _carry_out(hooks, plan, now - (now if there is None else there), undo)
    except BaseException:
        _on_signals(signal.SIG_IGN)  # a second signal must not interrupt the undos
        undo.close()
        raise


def _carry_out(hooks: Hooks, plan: Plan, late: frozenset[int], undo: ExitStack) -> NoReturn:
    """Carry out the steps of a start.

    It first denies new privileges to all children, and later, before the guard, all privileges.
    """
    if plan.command.user is not None:
        privileges.refuse_new()
    run_directory.make(hooks.settings[RUN_DIR])
    state.save(hooks.settings[RUN_DIR], plan.identity, plan.wiring)
    undo.callback(_restore, hooks, plan.wiring)
    hooks.build_bridge(plan.wiring)
    for delivery in plan.deliveries:
        _deliver(delivery, undo)
    daemons = (daemon for delivery in plan.deliveries for daemon in delivery.daemons)
    helpers = supervise.begin(plan.command, daemons, hooks.settings, undo)
    _write_records(plan, helpers, hooks.settings, late, undo)
    hooks.launch(plan.command)
    raise LaunchError("the launch strategy returned instead of executing the hypervisor")


def _write_records(
    plan: Plan,
    helpers: Iterable[vm_record.Helper],
    settings: Settings,
    late: frozenset[int],
    undo: ExitStack,
) -> None:
    run_dir = settings[RUN_DIR]
    addresses = (
        () if plan.outside else [address.ip for address in interface.addresses]
        for interface in plan.identity.interfaces
    )
    undo.callback(uplink_record.discard, run_dir)
    with _reading_devices():
        devices = device.devices()
    record = uplink_record.describe(plan.wiring, devices, late)
    uplink_record.save(run_dir, record)
    undo.callback(vm_record.discard, run_dir)
    vm_record.save(run_dir, vm_record.describe(plan.command, plan.wiring, addresses, helpers))
    if uplink_record.newcomers(record, devices, settings[INTERFACES]):
        # Connected during planning. The keeper handles NICs that appear later.
        from vmnet.lifecycle import uplink_changes

        uplink_changes.log_changes(run_dir, os.environ)


def devices_there() -> frozenset[int]:
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


def _on_signals(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    for number in processes.STOP_SIGNALS:
        signal.signal(number, handler)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    held_signals.note(number)
    raise InterruptedStartError(number)


def _restore(hooks: Hooks, wiring: Wiring) -> None:
    """Restore the network, and keep the saved state for the next start if that fails."""
    try:
        hooks.restore_bridge(wiring)
    except PrivilegeError:
        # Without this privilege the start changed nothing. Its own error is reported.
        _log.debug("nothing to restore")
    except VmnetError as error:
        _log.error("the network could not be restored: %s", error, extra={"hint": error.hint})
        return
    state.discard(hooks.settings[RUN_DIR])
    _log.info("the network is as it was before the start")


def _deliver(delivery: Delivery, undo: ExitStack) -> None:
    for file in delivery.files:
        undo.callback(_remove, file.path)
        files.write(file.path, file.content, file.mode)
    for daemon in delivery.daemons:
        undo.callback(_stop, daemon)
        _launch_daemon(daemon)


def _launch_daemon(daemon: Daemon) -> None:
    hint = f"its log is {daemon.log}" if daemon.log else "`vmnet plan` shows its configuration"
    try:
        _remove(daemon.pidfile)  # may be of an earlier start
        if daemon.log and daemon.log.parent == daemon.pidfile.parent:
            _remove(daemon.log)  # an earlier guest may have filled it up to its size limit
        outcome = process.run(daemon.argv)
    except OSError as error:  # TimeoutError included
        raise DeliveryError(f"can't start {daemon.name}: {error}", hint) from None
    if outcome.status != 0:
        raise DeliveryError(
            f"{daemon.name} ended with status {outcome.status}: {outcome.stderr or 'no message'}",
            hint,
        )


def _stop(daemon: Daemon) -> None:
    """End a daemon if it runs."""
    if pid := _pid(daemon):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    _remove(daemon.pidfile)


def _pid(daemon: Daemon) -> int | None:
    with suppress(FileNotFoundError, ValueError):
        return int(daemon.pidfile.read_text())
    return None


def _remove(path: Path) -> None:
    with suppress(FileNotFoundError, NotADirectoryError):
        path.unlink()
