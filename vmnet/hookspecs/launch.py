"""Launch: become the hypervisor."""

from __future__ import annotations

from collections.abc import Sequence

from vmnet.hookspecs.markers import hookspec
from vmnet.machine import Command, Machine
from vmnet.settings import Settings


@hookspec(firstresult=True)
def vmnet_launch_command(settings: Settings, machine: Machine, arguments: Sequence[str]) -> Command:
    """Turn the machine into a command line, changing nothing.

    Called on the one strategy that ``VMNET_LAUNCH`` names, after all other planning.

    :param arguments: what the user added behind ``vmnet run``, for the hypervisor
    :return: the command that :func:`vmnet_launch` will become
    :raises vmnet.errors.LaunchError: the hypervisor is missing
    """


@hookspec(firstresult=True)
def vmnet_launch(settings: Settings, command: Command) -> None:
    """Replace this process by ``command``, with ``vmnet.lifecycle.become``.

    Called last, on the same strategy, when the network is wired and every daemon is ready. It
    never returns.

    :raises vmnet.errors.LaunchError: the command can't be executed; everything is then undone
    """
