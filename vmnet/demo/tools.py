"""Run tools such as ip(8), and report their failures as :class:`DemoError`."""

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
    """Check that all tools are installed.

    :raises DemoError: a tool is missing
    """
    missing = [package for tool, package in _PACKAGES.items() if process.find(tool) is None]
    if missing:
        raise DemoError(
            f"missing: {', '.join(missing)}",
            f"`apt-get install {' '.join(missing)}`; ./demo in a checkout installs them",
        )


def run(*argv: str, seconds: float = programs.SECONDS) -> str:
    """Run a program and return its standard output.

    :raises DemoError: the program failed
    """
    answer = ask(*argv, seconds=seconds)
    if answer.status != 0:
        raise DemoError(
            f"`{shlex.join(argv)}` ended with status {answer.status}", excerpt=answer.stderr.strip()
        )
    return answer.stdout


def run_json(*argv: str) -> Any:
    """Run a program and parse its standard output as JSON.

    :raises DemoError: the program failed
    """
    return parse(run(*argv))


def parse(text: str) -> Any:
    """Parse JSON.

    :raises DemoError: the text is not JSON
    """
    try:
        return json.loads(text)
    except ValueError as error:
        raise DemoError(f"not JSON: {error}", excerpt=text) from None


def ask(*argv: str, seconds: float = programs.SECONDS) -> programs.Output:
    """Run a program and return its answer, even if it fails.

    :raises DemoError: the program can't be executed, or does not end
    """
    try:
        return programs.ask(argv, seconds=seconds)
    except OSError as error:  # TimeoutError included
        raise DemoError(f"`{shlex.join(argv)}`: {error}") from None
