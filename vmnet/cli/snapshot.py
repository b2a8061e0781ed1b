"""``vmnet snapshot``: save the running VM's memory and disks, and return to them."""

from __future__ import annotations

import argparse
import logging
import signal
import time
from collections.abc import Mapping, Sequence

from vmnet import engine
from vmnet.errors import GuestError, UsageError
from vmnet.lifecycle.vm_record import VmRecord
from vmnet.model.serial import plain
from vmnet.running import guest_clock, qmp_session, quiescence, snapshot_lock, snapshots
from vmnet.running.find_vm import find_vm
from vmnet.settings.core import RUN_DIR
from vmnet.settings.table import value
from vmnet.terminal.documents import print_json
from vmnet.terminal.options import Parser
from vmnet.terminal.tables import table

_log = logging.getLogger(__name__)
_MIB = 1 << 20


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    options = _parser().parse_args(arguments)
    if (options.name is None) == (options.action in ("create", "restore", "delete")):
        raise UsageError(
            f"vmnet snapshot {options.action}: "
            + ("a NAME is missing" if options.name is None else "takes no NAME"),
            "`vmnet snapshot --help` lists the options",
        )
    if options.name is not None and not snapshots.NAME.fullmatch(options.name):
        raise UsageError(
            f"vmnet snapshot: {options.name!r} is not a name",
            "begin with a letter, and use letters, digits, `.`, `_` and `-`",
        )
    record = find_vm(environ)
    for number in (signal.SIGTERM, signal.SIGHUP):  # raise, so that the guest is thawed
        signal.signal(number, signal.default_int_handler)
    if options.action in ("create", "restore", "delete"):
        with snapshot_lock.locked(value(environ, RUN_DIR)):
            _act(record, options)
    else:
        _act(record, options)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        "snapshot",
        "Save the running VM's memory and disks within its qcow2 images, or return to them. The "
        "guest pauses meanwhile. Without arguments, list the snapshots. thaw unfreezes file "
        "systems that stay frozen because a command was killed.",
    )
    actions = ("create", "list", "restore", "delete", "thaw")
    parser.add_argument("action", nargs="?", default="list", choices=actions)
    parser.add_argument("name", nargs="?", metavar="NAME")
    return parser


def _act(record: VmRecord, options: argparse.Namespace) -> None:
    if record.qmp is None:
        raise GuestError(
            "this VM's hypervisor has no control socket", f"{engine.stop()} ends the container"
        )
    match options.action:
        case "create":
            with qmp_session.session(record.qmp) as qemu:
                snapshots.possible(qemu)
            with quiescence.frozen(record), qmp_session.session(record.qmp) as qemu:
                snapshots.create(qemu, options.name)
            guest_clock.set_right(record)
            _log.info("created snapshot %s", options.name, extra={"event": "snapshot.created"})
        case "restore":
            with qmp_session.session(record.qmp) as qemu:
                snapshots.restore(qemu, options.name)
            # They are frozen, as when the snapshot was taken, if the guest had an agent then.
            quiescence.thaw(record, needs_agent=False)
            guest_clock.set_right(record)
            _log.info(
                "the VM is as it was in snapshot %s",
                options.name,
                extra={"event": "snapshot.restored"},
            )
        case "delete":
            with qmp_session.session(record.qmp) as qemu:
                snapshots.delete(qemu, options.name)
            _log.info("deleted snapshot %s", options.name, extra={"event": "snapshot.deleted"})
        case "thaw":
            quiescence.thaw(record)
    if options.action == "list" or options.json:
        _list(record, as_json=options.json)


def _list(record: VmRecord, *, as_json: bool) -> None:
    assert record.qmp is not None
    with qmp_session.session(record.qmp) as qemu:
        found = snapshots.snapshots(snapshots.disks(qemu.ask("query-block")))
    if as_json:
        print_json([plain(snapshot) for snapshot in found])
        return
    rows = [
        (
            snapshot.name,
            time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(snapshot.created)),
            f"{snapshot.memory // _MIB} MiB",
            "" if snapshot.complete else "one of the disks lacks it",
        )
        for snapshot in found
    ]
    print(table(("name", "created", "memory", ""), rows))
