"""The command lines of the guard and the keeper, as a start runs them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vmnet import program
from vmnet.supervision import guard, keeper

if TYPE_CHECKING:
    from vmnet.supervision.keeper import Order


def guard_command(
    pid: int,
    qmp: object,
    deadline: float,
    form: str,
    alarm: Sequence[int],
    remedy: str = "wait",
    resumed: Sequence[str] = (),
) -> tuple[str, ...]:
    words = guard.arguments(pid, qmp, deadline, remedy, form, alarm, resumed)
    return program.command("vmnet.supervision.guard", *words, light=True)


def keeper_command(pid: int, form: str, pidfile: object, *orders: Order) -> tuple[str, ...]:
    words = keeper.arguments(pid, form, pidfile, *orders)
    return program.command("vmnet.supervision.keeper", *words, light=True)
