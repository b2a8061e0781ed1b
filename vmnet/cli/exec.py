"""``vmnet exec``: run a command in the guest."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Mapping, Sequence

from vmnet import engine
from vmnet.errors import GuestError, UsageError
from vmnet.running import agent, guest_exec
from vmnet.running.find_vm import find_vm
from vmnet.running.guest_exec import Outcome
from vmnet.terminal.documents import print_json
from vmnet.terminal.options import Parser, seconds

_log = logging.getLogger(__name__)


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    options = _parser().parse_args(arguments)
    argv = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not argv:
        raise UsageError("vmnet exec: no command", "`vmnet exec -- COMMAND ARGUMENT …`")
    if options.tty:
        raise GuestError(
            "qemu-guest-agent can't give a command a terminal",
            f"{engine.command('exec', '-it', 'vmnet', 'console')} or ssh; for a command without a "
            "terminal, leave out `-t`",
        )
    path = agent.require(find_vm(environ))
    given = _input() if options.interactive else None
    try:
        outcome = guest_exec.run(path, argv, given, options.timeout or None)
    except guest_exec.InterruptedCommandError as interrupted:
        _log.warning(
            "the command still runs in the guest as process %s",
            interrupted.pid,
            extra={"event": "exec.interrupted"},
        )
        return 130
    _report(outcome, options.timeout, as_json=options.json)
    return outcome.status


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        "exec",
        "Run a command in the guest, as the user of qemu-guest-agent (root). Its output appears "
        "when it ends, at most 16 MiB of each stream. The exit status is the command's, 128 plus "
        "the number of a signal that ended it, 124 after the time limit, or 22 if the guest can't "
        "run it.",
    )
    parser.usage = "vmnet exec [-h] [--json] [-i] [--timeout SECONDS] -- COMMAND [ARGUMENT …]"
    parser.add_argument(
        "-i", "--interactive", action="store_true", help="pass standard input on, at most 4 MiB"
    )
    parser.add_argument("-t", "--tty", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=0,
        metavar="SECONDS",
        help="end the command after this time; 0: no limit, the default",
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND")
    return parser


def _input() -> bytes:
    given = sys.stdin.buffer.read(guest_exec.INPUT_LIMIT + 1)
    if len(given) > guest_exec.INPUT_LIMIT:
        raise GuestError(
            f"standard input is larger than {guest_exec.INPUT_LIMIT >> 20} MiB",
            "copy large data by the network (scp), or put it on a disk",
        )
    return given


def _report(outcome: Outcome, timeout: int, *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "status": outcome.status,
                "stdout": outcome.stdout.decode(errors="replace"),
                "stderr": outcome.stderr.decode(errors="replace"),
                "truncated": outcome.truncated,
            }
        )
    else:
        for stream, data in ((sys.stdout, outcome.stdout), (sys.stderr, outcome.stderr)):
            stream.flush()
            stream.buffer.write(data)
            stream.buffer.flush()
    for name in outcome.truncated:
        _log.warning(
            "the rest of the command's %s is lost: the agent keeps 16 MiB",
            name,
            extra={"event": "exec.output_lost"},
        )
    if outcome.timed_out:
        still = f"still runs in the guest as process {outcome.running}"
        end = "was ended" if outcome.running is None else still
        _log.warning(
            "the command exceeded its %s s and %s", timeout, end, extra={"event": "exec.timed_out"}
        )
