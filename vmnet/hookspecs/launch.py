"""Launch: become the hypervisor."""

from __future__ import annotations

from collections.abc import Sequence

from vmnet.hookspecs.markers import hookspec
from vmnet.model.machine import Command, Machine
from vmnet.settings.table import Settings


@hookspec(firstresult=True)
def vmnet_launch_command(settings: Settings, machine: Machine, arguments: Sequence[str]) -> Command:
    """Return the command line for the machine, without changing anything.

    Called for the strategy that ``VMNET_LAUNCH`` names, after all other planning.

    :param arguments: the user's arguments after ``vmnet run``, for the hypervisor
    :return: the command that :func:`vmnet_launch` will execute
    :raises vmnet.errors.LaunchError: the hypervisor is missing
    """


@hookspec(firstresult=True)
def vmnet_launch(settings: Settings, command: Command) -> None:
    """Replace this process with ``command``, using ``vmnet.api.become``.

    Called last, for the same strategy, when the network is wired and every daemon is ready. It
    never returns.

    :raises vmnet.errors.LaunchError: the command can't be executed; vmnet then undoes the start
    """
