"""Find what a plugin's result may not contain although its types are right. Pure functions.

Each function returns the first fault as text, or an empty string.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePath

from vmnet.model.base import first_fault
from vmnet.model.delivery import Delivery
from vmnet.model.machine import Command


def item_fault(items: Iterable[object], kinds: tuple[type, ...]) -> str:
    """Check the types of the items in a result that is a tuple."""
    expected = " or ".join(kind.__name__ for kind in kinds)
    return first_fault(
        f"the result[{number}] is {type(item).__name__}, not {expected}"
        for number, item in enumerate(items)
        if not isinstance(item, kinds)
    )


def command_fault(command: Command) -> str:
    return _argv_fault("Command.argv", command.argv)


def delivery_fault(delivery: Delivery) -> str:
    return first_fault(_delivery_faults(delivery))


def _delivery_faults(delivery: Delivery) -> Iterator[str]:
    for file in delivery.files:
        if not 0 <= file.mode <= 0o777:
            yield f"the mode of {file.path} is {file.mode:#o}"
    for daemon in delivery.daemons:
        yield _argv_fault(f"the argv of {daemon.name}", daemon.argv)
        if daemon.refresh:
            yield _argv_fault(f"the refresh of {daemon.name}", daemon.refresh)


def _argv_fault(what: str, argv: Sequence[str]) -> str:
    """Check the arguments of a program, which execve(2) takes as strings that end with a NUL."""
    if not argv:
        return f"{what} is empty"
    if not PurePath(argv[0]).is_absolute():
        return f"{what} begins with {argv[0]!r}, which is not an absolute path"
    return f"{what} contains a NUL" if any("\0" in argument for argument in argv) else ""
