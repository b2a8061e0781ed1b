"""Check the machine type, the CPU model and the number of CPUs against the lists of QEMU itself.

Without this check, QEMU refuses them when it already has the container's network.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from vmnet.api import LaunchError, Machine, MachineError, frozen, process
from vmnet_qemu import hardware, rows
from vmnet_qemu.arguments import Options, machine_type, user_sets_accelerator

_ALWAYS = ("", "host", "max")  # CPU models of every QEMU
_FEW = 255  # CPUs that the default machine types of every QEMU allow
_QUESTION = ("-machine", "none", "-nodefaults", "-no-user-config", "-display", "none")
_COMMANDS = ("qmp_capabilities", "query-machines", "query-cpu-definitions", "quit")
_SECONDS = 60.0  # it takes a tenth of a second, on a busy host much longer


@frozen
class Offered:
    """QEMU's own lists.

    :param machines: the maximum of CPUs for each name of a machine type, aliases included
    :param models: the CPU models
    """

    machines: dict[str, int]
    models: frozenset[str]


def check(program: Path, machine: Machine, options: Options) -> None:
    """Check the settings that are not QEMU's defaults; only these start QEMU for its lists.

    The user's own arguments take precedence over a setting, which is then not checked.

    :param program: QEMU's binary
    :raises MachineError: QEMU lacks the machine type or the CPU model, or allows fewer CPUs
    :raises LaunchError: QEMU can't be executed
    """
    kind = _name(machine_type(machine, options), options, "-machine", "-M")
    model = _name(options.settings[rows.CPU] or "", options, "-cpu")
    cpus = 1 if _is_replaced(options, "-smp") else machine.cpus
    _require_kvm(machine, model, options)
    default = hardware.of(machine.architecture).machine.split(",")[0]
    if kind in ("", default) and model in _ALWAYS and cpus <= _FEW:
        return
    offered = _ask(program)
    if offered is None:
        return
    if kind and kind not in offered.machines:
        raise MachineError(
            f"VMNET_MACHINE={options.settings[rows.MACHINE]}: QEMU has no machine type {kind}",
            f"`{program} -machine help` lists the types; or unset VMNET_MACHINE",
        )
    if model not in _ALWAYS and model not in offered.models:
        raise MachineError(
            f"VMNET_CPU={options.settings[rows.CPU]}: QEMU has no CPU model {model}",
            f"`{program} -cpu help` lists the models; or unset VMNET_CPU",
        )
    most = offered.machines.get(kind, cpus)
    if cpus > most:
        raise MachineError(
            f"the VM has {cpus} CPUs, but QEMU's machine type {kind} allows at most {most}",
            f"set VMNET_CPUS to {most} or less, or VMNET_MACHINE to another type",
        )


def _require_kvm(machine: Machine, model: str, options: Options) -> None:
    is_emulated = machine.accelerator == "tcg" and not user_sets_accelerator(options)
    if model == "host" and is_emulated:
        raise MachineError(
            f"VMNET_CPU={options.settings[rows.CPU]} needs KVM, but the VM runs in emulation",
            "unset VMNET_CPU, which is then host with KVM and max without",
        )


def _name(value: str, options: Options, *replacements: str) -> str:
    """Return the name in a machine type or CPU model with properties, such as ``max,pmu=off``.

    :param replacements: QEMU's options that take precedence
    :return: the name; empty if there are only properties, or the user's arguments replace them
    """
    name = value.split(",")[0].removeprefix("type=")
    return "" if "=" in name or _is_replaced(options, *replacements) else name


def _is_replaced(options: Options, *replacements: str) -> bool:
    return any(word in (each, f"-{each}") for word in options.extra for each in replacements)


def _ask(program: Path) -> Offered | None:
    """Return what QEMU offers; None if the program is a wrapper that does not answer."""
    commands = "".join(json.dumps({"execute": name, "id": name}) + "\n" for name in _COMMANDS)
    try:
        answer = process.ask(
            (str(program), *_QUESTION, "-qmp", "stdio"), stdin=commands.encode(), seconds=_SECONDS
        )
    except OSError as error:
        raise LaunchError(
            f"{program} -machine none: {error}", "set VMNET_QEMU to a program for this host"
        ) from None
    return parse(answer.stdout)


def parse(output: str) -> Offered | None:
    """Parse the answers of QEMU's monitor, a line each; None if one is missing."""
    lists: dict[str, list[dict[str, Any]]] = {}
    for line in output.splitlines():
        with suppress(ValueError):  # a line of a wrapper
            match json.loads(line):
                case {"id": str(name), "return": [*found]}:
                    lists[name] = found
    try:
        machines, models = lists["query-machines"], lists["query-cpu-definitions"]
    except KeyError:
        return None
    most = {
        name: machine["cpu-max"]
        for machine in machines
        for name in (machine["name"], machine.get("alias"))
        if name
    }
    return Offered(most, frozenset(model["name"] for model in models))
