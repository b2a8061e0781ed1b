"""The programs that the demonstration runs, and their answers."""

from __future__ import annotations

import json
import shlex
from typing import Any

from vmnet import process
from vmnet.demo import programs
from vmnet.demo.errors import DemoError

_PACKAGES = {
    "ip": "iproute2",
    "unshare": "util-linux",
    "ping": "iputils-ping",
    "curl": "curl",
    "dnsmasq": "dnsmasq-base",
}


def require() -> None:
    """:raises DemoError: a program is not installed"""
    missing = [package for tool, package in _PACKAGES.items() if process.find(tool) is None]
    if missing:
        raise DemoError(
            f"missing: {', '.join(missing)}",
            f"`apt-get install {' '.join(missing)}`; ./demo in a checkout does that by itself",
        )


def run(*argv: str, seconds: float = 10) -> str:
    """A program's standard output.

    :raises DemoError: it failed
    """
    answer = ask(*argv, seconds=seconds)
    if answer.status != 0:
        raise DemoError(
            f"`{shlex.join(argv)}` ended with status {answer.status}", excerpt=answer.stderr.strip()
        )
    return answer.stdout


def run_json(*argv: str) -> Any:
    """A program's standard output, which is JSON.

    :raises DemoError: it failed
    """
    return parse(run(*argv))


def parse(text: str) -> Any:
    """:raises DemoError: it is not JSON"""
    try:
        return json.loads(text)
    except ValueError as error:
        raise DemoError(f"not JSON: {error}", excerpt=text) from None


def ask(*argv: str, seconds: float = 10) -> programs.Answer:
    """All that a program answers, its failure included.

    :raises DemoError: it can't be run, or does not end
    """
    try:
        return programs.ask(argv, seconds=seconds)
    except OSError as error:  # TimeoutError included
        raise DemoError(f"`{shlex.join(argv)}`: {error}") from None
