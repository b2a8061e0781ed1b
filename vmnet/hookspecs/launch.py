"""Launch: become the hypervisor."""

from __future__ import annotations

from collections.abc import Sequence

from vmnet.hookspecs.markers import hookspec
from vmnet.model.machine import Command, Machine, NicChange
from vmnet.settings.table import Settings


@hookspec(firstresult=True)
def vmnet_launch_firmware(settings: Settings, arguments: Sequence[str]) -> str:
    """Return what sets the machine's firmware in the user's own arguments; empty if nothing does.

    Called for the strategy that ``VMNET_LAUNCH`` names, before the machine is planned. With
    ``VMNET_FIRMWARE=auto``, the machine then has no firmware of vmnet's choice. Without this hook,
    vmnet chooses it.

    :param arguments: the user's arguments after ``vmnet run``, for the hypervisor
    :return: the argument, for messages, such as ``-bios``
    """


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


@hookspec(firstresult=True)
def vmnet_launch_change(settings: Settings, command: Command, change: NicChange) -> bool:
    """Change a NIC of the running hypervisor: add it, remove it, or change its carrier.

    Called for the same strategy by a program that the keeper runs when networks are connected to
    the container or disconnected from it. It may take ten seconds. For ``plug``, the descriptors
    of the NIC are open in this process, and the hypervisor must get copies. Without this hook, a
    running VM gets no further network.

    :param command: the command that :func:`vmnet_launch` has executed
    :return: True
    :raises vmnet.errors.GuestError: the hypervisor refused, or the guest did not release the NIC
    """
