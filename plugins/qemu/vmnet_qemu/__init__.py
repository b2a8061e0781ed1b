"""The launch strategy ``qemu``: replace this process with QEMU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vmnet.api import Command, Machine, NicChange, Setting, Settings, Stream, become, hookimpl
from vmnet_qemu import rows


@hookimpl
def vmnet_settings() -> Sequence[Setting[Any]]:
    return rows.ROWS


@hookimpl
def vmnet_launch_firmware(settings: Settings, arguments: Sequence[str]) -> str:
    from vmnet_qemu import firmware

    return firmware.users_own(
        (*(settings[rows.QEMU_ARGS] or ()), *arguments), settings[rows.MACHINE] or ""
    )


@hookimpl
def vmnet_launch_command(settings: Settings, machine: Machine, arguments: Sequence[str]) -> Command:
    from vmnet_qemu import arguments as make
    from vmnet_qemu import (
        binary,
        firmware,
        hardware,
        inherited,
        listeners,
        models,
        passwords,
        stdin,
        user,
    )
    from vmnet_qemu.devices import channel

    path = binary.find(settings[rows.QEMU], machine.architecture)
    has_stream = any(isinstance(nic.backend, Stream) for nic in machine.nics)
    options = make.Options(
        settings,
        console=settings[rows.CONSOLE] and stdin.is_lasting(),
        extra=(*(settings[rows.QEMU_ARGS] or ()), *arguments),
        version=binary.version(path) if has_stream else (0, 0),
    )
    machine = channel.without_users_own(machine, options.extra)
    listeners.check(options)
    passwords.check(options)
    kind = make.machine_type(machine, options)
    hardware.require_architecture(kind, machine.architecture)
    hardware.require_pci(kind)
    models.check(path, machine, options)
    firmware.check(machine, kind, options.extra)
    qmp, guard = inherited.qmp(machine), inherited.guard(machine)
    console = inherited.console(machine) if options.console else None
    sockets = (qmp, guard, *((console,) if console else ()), *inherited.channels(machine))
    return Command(
        (str(path), *make.arguments(machine, options)),
        keep_fds=inherited.taps(machine),
        qmp=qmp.path,
        guard=guard.path,
        opened=inherited.opened(machine),
        listeners=sockets,
        user=user.choose(path, machine, options),
        console=console.path if console else None,
        agent=channel.agent(machine),
    )


@hookimpl
def vmnet_launch(settings: Settings, command: Command) -> None:
    become(command)


@hookimpl
def vmnet_launch_change(settings: Settings, command: Command, change: NicChange) -> bool:
    from vmnet_qemu import hotplug

    hotplug.change(command, change)
    return True
