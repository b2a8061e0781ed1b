"""``vmnet stop``: power off the running VM."""

from __future__ import annotations

import argparse
import logging
import signal
from collections.abc import Mapping, Sequence

from vmnet.lifecycle import vm_record
from vmnet.model.serial import plain
from vmnet.planning import stop_time
from vmnet.running.find_vm import find_vm
from vmnet.running.save import save
from vmnet.running.stop import Stopped, stop
from vmnet.settings.core import RUN_DIR, STOP_TIMEOUT
from vmnet.settings.table import value
from vmnet.terminal.documents import print_json
from vmnet.terminal.options import Parser, seconds

_log = logging.getLogger(__name__)
_MESSAGES = {
    "powered-off": "the guest powered off after {0:g} s",
    "forced": "the guest did not power off within {0:g} s: QEMU writes back the disks and quits",
    "ended": "QEMU ended by itself after {0:g} s",
    "saved": "the VM is saved after {0:g} s, and the next start resumes it",
    "not-running": "no VM runs here",
}


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    timeout = value(environ, STOP_TIMEOUT) or stop_time.STOP_SECONDS
    options = _parser(timeout).parse_args(arguments)
    run_dir = value(environ, RUN_DIR)
    machine = vm_record.load(run_dir)
    for number in (signal.SIGTERM, signal.SIGHUP):  # raise, so that stop() resets QEMU
        signal.signal(number, signal.default_int_handler)
    if options.save:
        found = save(find_vm(environ), run_dir)
    elif machine is None:
        found = Stopped("not-running", 0.0)
    else:
        found = stop(machine, options.timeout, _report, force=options.force)
    if options.json:
        print_json(plain(found))
    else:
        print(_MESSAGES[found.result].format(found.seconds))
    return 0


def _report(progress: str) -> None:
    _log.info("%s", progress, extra={"event": "guest.stopping"})


def _parser(timeout: int) -> argparse.ArgumentParser:
    parser = Parser(
        "stop",
        "Press the guest's power button until the guest has powered off. The container then ends "
        "(see `docker wait`).",
    )
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=timeout,
        metavar="SECONDS",
        help=f"time for the guest to power off (VMNET_STOP_TIMEOUT, {timeout})",
    )
    way = parser.add_mutually_exclusive_group()
    way.add_argument(
        "--force",
        action="store_true",
        help="after that time have QEMU write back the disks and quit, as `docker stop` does",
    )
    way.add_argument(
        "--save",
        action="store_true",
        help="save memory and disks instead, for the container's next start to resume the guest",
    )
    return parser
