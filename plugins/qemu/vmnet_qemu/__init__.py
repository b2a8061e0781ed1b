"""The launch strategy ``qemu``: replace this process with QEMU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vmnet.api import (
    Command,
    Machine,
    Setting,
    Settings,
    become,
    hookimpl,
    optional,
    setting,
    values,
)

QEMU = optional("VMNET_QEMU", values.absolute_path, "QEMU's binary; unset: qemu-system-ARCH")
QEMU_ARGS = optional("VMNET_QEMU_ARGS", values.shell_words, "further arguments for QEMU")
MACHINE = optional(
    "VMNET_MACHINE", values.text, "QEMU's machine type, `-machine`; unset: q35, or virt on arm64"
)
CPU = optional(
    "VMNET_CPU", values.text, "QEMU's CPU model, `-cpu`; unset: host, or max without KVM"
)
FIRMWARE = optional(
    "VMNET_FIRMWARE", values.absolute_path, "firmware image, `-bios`; unset: QEMU's"
)
VNC = optional("VMNET_VNC", values.text, "VNC display, `-vnc`, such as unix:/tmp/vnc.sock")
CONSOLE = setting(
    "VMNET_CONSOLE",
    values.boolean,
    "off",
    "allow `vmnet console` in addition to `docker attach`; needs QEMU 10; the image sets it on",
)
USER = setting(
    "VMNET_USER",
    values.user,
    "auto",
    "QEMU's user: root, numbers, or auto: user 64055 if it can open every file, otherwise root",
)


@hookimpl
def vmnet_settings() -> Sequence[Setting[Any]]:
    return (QEMU, QEMU_ARGS, MACHINE, CPU, FIRMWARE, VNC, CONSOLE, USER)


@hookimpl
def vmnet_launch_command(settings: Settings, machine: Machine, arguments: Sequence[str]) -> Command:
    from vmnet_qemu import arguments as make
    from vmnet_qemu import binary, stdin, user

    options = make.Options(
        machine_type=settings[MACHINE],
        cpu=settings[CPU],
        firmware=settings[FIRMWARE],
        vnc=settings[VNC],
        console=settings[CONSOLE] and stdin.is_lasting(),
        extra=(*(settings[QEMU_ARGS] or ()), *arguments),
    )
    path = binary.find(settings[QEMU])
    fds = tuple(fd for nic in machine.nics for fd in nic.fds)
    argv = (str(path), *make.arguments(machine, options))
    qmp, guard = make.qmp(machine), make.guard(machine)
    console = make.console(machine) if options.console else None
    return Command(
        argv,
        keep_fds=fds,
        qmp=qmp.path,
        guard=guard.path,
        opened=make.opened(machine),
        listeners=(qmp, guard, console) if console else (qmp, guard),
        user=user.choose(settings[USER], path, machine, options),
        console=console.path if console else None,
    )


@hookimpl
def vmnet_launch(settings: Settings, command: Command) -> None:
    become(command)
