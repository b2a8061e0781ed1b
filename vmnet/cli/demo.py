"""``vmnet demo``: run a demonstration on this machine, without a container engine."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from types import FrameType

from vmnet.demo import acts
from vmnet.demo.errors import DemoError
from vmnet.demo.story import Story
from vmnet.model.serial import plain
from vmnet.terminal.colours import styled
from vmnet.terminal.documents import print_json
from vmnet.terminal.options import Parser

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_INTERRUPTED = 130


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    parser = Parser(
        "demo", "Hand a container's network to a VM, in network namespaces on this machine."
    )
    options = parser.parse_args(arguments)
    if os.geteuid() != 0:
        raise DemoError("the demo needs root for network namespaces", "run `sudo vmnet demo`")
    for number in _SIGNALS:
        signal.signal(number, _interrupt)
    try:
        facts = acts.play(Story(quiet=options.json), environ)
    except DemoError as error:
        print(acts.explain(error), file=sys.stderr)
        raise
    except KeyboardInterrupt:
        print("\ninterrupted; everything is cleaned up", file=sys.stderr)
        return _INTERRUPTED
    if options.json:
        print_json(plain(facts))
    else:
        print(styled(f"\nthe demo succeeded in {facts.seconds:.0f} s", "bold"))
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """Start the cleanup, and ignore further signals. Every step of the cleanup is bounded."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
