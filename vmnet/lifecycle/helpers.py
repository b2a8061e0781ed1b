"""Start the keeper, which starts the guard and keeps the daemons alive."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve

from vmnet import process, program
from vmnet.errors import LaunchError
from vmnet.lifecycle import privileges, vm_record
from vmnet.lifecycle.vm_record import Helper
from vmnet.model.delivery import Daemon
from vmnet.model.machine import Command
from vmnet.planning import stop_time
from vmnet.settings.core import GUARD, LOG, RUN_DIR, STOP_TIMEOUT
from vmnet.settings.table import Settings
from vmnet.supervision import alarm, guard, keeper, pidfiles, watches
from vmnet.supervision.signals import STOP_SIGNALS
from vmnet.supervision.watches import Watch

if TYPE_CHECKING:
    from vmnet.supervision.keeper import Order

_log = logging.getLogger(__name__)
# For one change: 5 for the start, 10 for a connection to QEMU, 15 for the guest to release a NIC.
_UPLINKS_SECONDS = 40


def start(
    command: Command,
    accelerator: str,
    daemons: Iterable[Daemon],
    settings: Settings,
    undo: ExitStack,
    known: frozenset[int] | None = None,
) -> list[Helper]:
    """Start the keeper and the guard; the daemons run already, or the keeper starts them.

    From then on, programs that this process executes get no privileges. If there is a guard, stop
    signals are blocked from then on, and the guard acts on them: blocked signals survive the exec.

    :param accelerator: ``kvm`` or ``tcg``
    :param known: the network devices of the start and its own; the guest gets others at once
    :returns: all helpers of the VM
    :raises LaunchError: the keeper can't be started
    """
    kept = [daemon for daemon in daemons if daemon.late or pidfiles.read(str(daemon.pidfile))]
    helpers = [Helper(daemon.name, daemon.pidfile) for daemon in kept]
    for helper in helpers:
        pidfiles.reset_restarts(str(helper.pidfile))
    orders: list[Order] = [
        keeper.keep_daemon(daemon.name, daemon.pidfile, daemon.argv)
        for daemon in kept
        if daemon.resumes
    ]
    with ExitStack() as opened:
        inherited = []
        for watch in _watches(kept, settings, known):
            if (fd := _open(watch, opened)) is not None:
                inherited.append(fd)
                orders.append(keeper.watch(watch.name, fd, watch.argv, watch.seconds))
        has_privileges = bool(orders) and command.user is not None
        if command.user is not None:
            privileges.shed(privileges.SERVING if has_privileges else ())
        qmp = command.guard or command.qmp
        try:
            if qmp is not None and settings[GUARD]:
                helpers.append(_core_helper("the guard", settings, undo))
                _block_stop_signals(undo)
                inherited += (fds := opened.enter_context(alarm.opened()))
                deadline = stop_time.choose(settings[STOP_TIMEOUT], accelerator)
                remedy = stop_time.remedy(deadline)
                resumed = program.command("vmnet.running.guest_clock", settings[RUN_DIR])
                form = settings[LOG]
                words = guard.arguments(os.getpid(), qmp, deadline, remedy, form, fds, resumed)
                argv = program.command(guard.__name__, *words, light=True)
                if has_privileges:
                    argv = program.command("vmnet.supervision.unprivileged", "", *argv, light=True)
                orders.append(keeper.keep_guard(helpers[-1].pidfile, inherited, argv))
            if orders:
                helpers.append(_core_helper("the keeper", settings, undo))
                pidfile = helpers[-1].pidfile
                words = keeper.arguments(os.getpid(), settings[LOG], pidfile, *orders)
                argv = program.command(keeper.__name__, *words, light=True)
                pid = process.spawn(argv, STOP_SIGNALS)
                undo.callback(os.killpg, pid, signal.SIGKILL)  # ends the guard too
        except OSError as error:
            raise LaunchError(
                f"can't start the guard and its keeper: {error.strerror}",
                "VMNET_GUARD=off starts without the guard; a stop signal then ends QEMU at once",
            ) from None
    if has_privileges:
        privileges.shed()
    return helpers


def keep_further(daemon: Daemon, settings: Settings) -> None:
    """Keep a daemon alive that was started while the VM runs, by a keeper of its own.

    :raises LaunchError: the keeper can't be started
    """
    run_dir = settings[RUN_DIR]
    record = vm_record.load(run_dir)
    if record is None or not (daemon.late or pidfiles.read(str(daemon.pidfile))):
        return
    pidfile = daemon.pidfile.with_name(f"keeper-{daemon.pidfile.name}")
    _forget(pidfile)
    pidfiles.reset_restarts(str(daemon.pidfile))
    order = keeper.keep_daemon(daemon.name, daemon.pidfile, daemon.argv)
    words = keeper.arguments(record.hypervisor.pid, settings[LOG], pidfile, order)
    try:
        process.spawn(program.command(keeper.__name__, *words, light=True), ())
    except OSError as error:
        raise LaunchError(
            f"can't start the keeper of {daemon.name}: {error.strerror}", "restart the container"
        ) from None
    added = (Helper(daemon.name, daemon.pidfile), Helper(f"the keeper of {daemon.name}", pidfile))
    vm_record.save(run_dir, evolve(record, helpers=(*record.helpers, *added)))


def _watches(
    daemons: Iterable[Daemon], settings: Settings, known: frozenset[int] | None
) -> Iterator[Watch]:
    """Yield the daemons' watches, and the watch of the network."""
    for daemon in daemons:
        yield from watches.watch_of(daemon)
    argv = program.command("vmnet.lifecycle.changes.uplink_changes", settings[RUN_DIR])
    yield Watch("uplinks", argv, known=known, seconds=_UPLINKS_SECONDS)


def _open(watch: Watch, opened: ExitStack) -> int | None:
    """Return a watch's descriptor, which children inherit, or None if the kernel refuses it."""
    try:
        fd = watch.open()
        opened.callback(os.close, fd)
        os.set_inheritable(fd, True)
    except OSError as error:
        _log.warning(
            "%s: can't watch for changes: %s",
            watch.name,
            error.strerror,
            extra={"event": "watch.failed"},
        )
        return None
    return fd


def _core_helper(name: str, settings: Settings, undo: ExitStack) -> Helper:
    """Return a helper of the core, after removing its PID file of an earlier start."""
    helper = Helper(name, settings[RUN_DIR] / f"{name.removeprefix('the ')}.pid")
    _forget(helper.pidfile)
    undo.callback(helper.pidfile.unlink, missing_ok=True)
    return helper


def _forget(pidfile: Path) -> None:
    """Remove what an earlier start has left."""
    pidfile.unlink(missing_ok=True)
    pidfiles.reset_restarts(str(pidfile))


def _block_stop_signals(undo: ExitStack) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    undo.callback(signal.pthread_sigmask, signal.SIG_SETMASK, before)
