"""``vmnet health``: for the image's HEALTHCHECK."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

from vmnet.cli.output import Parser, print_json, seconds, styled
from vmnet.errors import StateError
from vmnet.running import health
from vmnet.running.health import Health
from vmnet.serial import plain
from vmnet.settings import RUN_DIR, value

_STYLE = {"healthy": "green", "starting": "yellow", "unhealthy": "red"}


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    options = _parser().parse_args(arguments)
    try:
        found = health.examine(value(environ, RUN_DIR), options.grace, strict=options.strict)
    except StateError as error:
        found = Health("unhealthy", error.message)
    if options.json:
        print_json(plain(found))
    else:
        print(f"{styled(found.verdict, _STYLE[found.verdict])}: {found.reason}")
    return 0 if found.is_good else 1


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        "health",
        "Tell whether the running VM is healthy: exit status 0 if it is, 1 if it is starting or "
        "unhealthy, as HEALTHCHECK has it.",
    )
    parser.add_argument(
        "--grace",
        type=seconds,
        default=120,
        metavar="SECONDS",
        help="from the start of QEMU, in which a guest that does not answer is starting (120)",
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="a guest that has not answered by then is unhealthy; else it is not judged by that",
    )
    return parser
