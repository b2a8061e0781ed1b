"""``vmnet health``: report the VM's health, for the image's HEALTHCHECK."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

from vmnet.errors import StateError
from vmnet.model.serial import plain
from vmnet.running import health
from vmnet.running.health import Health
from vmnet.settings.core import CDROM, RUN_DIR
from vmnet.settings.table import value
from vmnet.terminal.colours import styled
from vmnet.terminal.documents import print_json
from vmnet.terminal.options import Parser, seconds

_STYLE = {"healthy": "green", "starting": "yellow", "unhealthy": "red"}


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    options = _parser().parse_args(arguments)
    try:
        found = health.examine(
            value(environ, RUN_DIR), options.grace, strict=_is_strict(options.strict, environ)
        )
    except StateError as error:
        found = Health("unhealthy", error.message)
    if options.json:
        print_json(plain(found))
    else:
        print(f"{styled(found.verdict, _STYLE[found.verdict])}: {found.reason}")
    return 0 if found.is_good else 1


def _is_strict(chosen: bool | None, environ: Mapping[str, str]) -> bool:
    return value(environ, CDROM) is None if chosen is None else chosen


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        "health",
        "Report whether the running VM is healthy. The exit status is 0 if it is, 1 if it is "
        "starting or unhealthy, as HEALTHCHECK expects.",
    )
    parser.add_argument(
        "--grace",
        type=seconds,
        default=health.GRACE_SECONDS,
        metavar="SECONDS",
        help="time after QEMU's start during which a silent guest counts as starting (120)",
    )
    parser.add_argument(
        "--strict",
        action=argparse.BooleanOptionalAction,
        help="report a guest that has not answered after the grace time as unhealthy (the default "
        "without VMNET_CDROM: an installer may have no network)",
    )
    return parser
