"""``qemu``: become QEMU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vmnet import values
from vmnet.hookspecs import hookimpl
from vmnet.lifecycle.become import become
from vmnet.machine import Command, Machine
from vmnet.settings import Setting, Settings, optional, setting

QEMU = optional("VMNET_QEMU", values.absolute_path, "QEMU's binary; unset means the host's own CPU")
QEMU_ARGS = optional("VMNET_QEMU_ARGS", values.shell_words, "further arguments for QEMU")
MACHINE = optional(
    "VMNET_MACHINE", values.text, "QEMU's machine type, `-machine`; unset: q35, virt"
)
CPU = optional(
    "VMNET_CPU", values.text, "QEMU's CPU model, `-cpu`; unset means host, or max on TCG"
)
FIRMWARE = optional(
    "VMNET_FIRMWARE", values.absolute_path, "firmware image, `-bios`; unset: QEMU's"
)
VNC = optional("VMNET_VNC", values.text, "a VNC display, `-vnc`: unix:/tmp/vnc.sock")
CONSOLE = setting(
    "VMNET_CONSOLE",
    values.boolean,
    "off",
    "let `vmnet console` in beside `docker attach`; takes QEMU 10, so the image has it on",
)
USER = setting(
    "VMNET_USER",
    values.user,
    "auto",
    "whom QEMU runs as: root, numbers, or auto, which is 64055 where all can be opened by it",
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
