"""Machine types, CPU models and numbers of CPUs that QEMU would refuse."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from attrs import evolve
from vmnet_qemu import binary, models
from vmnet_qemu.arguments import Options
from vmnet_qemu.rows import ROWS

from tests.lab.wait import WAIT
from vmnet import testing
from vmnet.api import LaunchError, Machine, MachineError, process

NO_PROGRAM = Path("/nonexistent")


def program(architecture: str = "x86_64") -> Path:
    return binary.find(None, architecture)


def check(machine: Machine, *extra: str, **environ: str) -> None:
    """Check settings with the real QEMU."""
    models.check(program(machine.architecture), machine, given(*extra, **environ))


def check_without_qemu(machine: Machine, *extra: str, **environ: str) -> None:
    models.check(NO_PROGRAM, machine, given(*extra, **environ))


def given(*extra: str, **environ: str) -> Options:
    return Options(testing.settings(environ, *ROWS), extra=extra)


@pytest.mark.parametrize("architecture", ["x86_64", "aarch64"])
def test_the_lists_are_those_of_qemus_help(architecture: str) -> None:
    """The remedy refers to the help, so it must list what the check accepts."""
    path = program(architecture)
    kinds = process.ask((str(path), "-machine", "help"), seconds=WAIT).stdout.splitlines()[1:]
    cpus = process.ask((str(path), "-cpu", "help"), seconds=WAIT).stdout.split("\n\n")[0]
    offered = models._ask(path)
    assert offered is not None
    assert set(offered.machines) == {line.split()[0] for line in kinds}
    assert offered.models == {line.removeprefix("x86").split()[0] for line in cpus.splitlines()[1:]}


@pytest.mark.parametrize(
    ("environ", "message", "command"),
    [
        ({"VMNET_MACHINE": "q53"}, "VMNET_MACHINE=q53: QEMU has no", "-machine help"),
        ({"VMNET_MACHINE": "q35-7.2,vmport=off"}, "no machine type q35-7.2", "-machine help"),
        ({"VMNET_MACHINE": "type=q53"}, "no machine type q53", "-machine help"),
        ({"VMNET_MACHINE": "help"}, "no machine type help", "-machine help"),
        ({"VMNET_CPU": "haswell"}, "VMNET_CPU=haswell: QEMU has no", "-cpu help"),
        ({"VMNET_CPU": "Hasvell,+vmx,-avx"}, "no CPU model Hasvell", "-cpu help"),
        ({"VMNET_CPU": "?"}, r"no CPU model \?", "-cpu help"),
    ],
)
def test_a_name_that_qemu_does_not_know(
    environ: dict[str, str], message: str, command: str
) -> None:
    with pytest.raises(MachineError, match=message) as caught:
        check(testing.machine(), **environ)
    assert f"`{program()} {command}`" in caught.value.hint


@pytest.mark.parametrize(
    "environ",
    [
        {"VMNET_MACHINE": "pc"},
        {"VMNET_MACHINE": "pc-q35-7.2,vmport=off"},
        {"VMNET_MACHINE": "type=pc,vmport=off"},
        {"VMNET_MACHINE": "vmport=off", "VMNET_CPU": "qemu64"},
        {"VMNET_CPU": "Haswell"},
        {"VMNET_CPU": "Skylake-Client-v1,+vmx,hle=off"},
    ],
)
def test_names_that_qemu_knows(environ: dict[str, str]) -> None:
    check(testing.machine(), **environ)


def test_the_names_are_those_of_the_guests_architecture() -> None:
    machine = testing.machine(architecture="aarch64")
    check(machine, VMNET_MACHINE="virt-7.2,gic-version=3", VMNET_CPU="cortex-a57,pmu=off")
    with pytest.raises(MachineError, match="no CPU model Haswell"):
        check(machine, VMNET_CPU="Haswell")


@pytest.mark.parametrize(
    ("environ", "extra"),
    [
        ({}, ()),
        ({"VMNET_MACHINE": "q35,vmport=off", "VMNET_CPU": "max,-avx"}, ()),
        ({"VMNET_MACHINE": "q53"}, ("-M", "pc")),
        ({"VMNET_CPU": "Hasvell"}, ("--cpu", "Haswell")),
    ],
)
def test_usual_settings_do_not_start_qemu(environ: dict[str, str], extra: tuple[str, ...]) -> None:
    check_without_qemu(testing.machine(), *extra, **environ)


def test_the_hosts_cpu_needs_kvm() -> None:
    emulated = testing.machine(accelerator="tcg")
    with pytest.raises(MachineError, match=r"^VMNET_CPU=host,-avx needs KVM"):
        check_without_qemu(emulated, VMNET_CPU="host,-avx")
    check_without_qemu(emulated, "-accel", "kvm", VMNET_CPU="host")
    check_without_qemu(evolve(emulated, accelerator="kvm"), VMNET_CPU="host")


def test_more_cpus_than_the_machine_type_allows() -> None:
    with pytest.raises(MachineError, match=r"256 CPUs, but .* pc allows at most 255") as caught:
        check(testing.machine(cpus=256), VMNET_MACHINE="pc")
    assert "VMNET_CPUS to 255 or less" in caught.value.hint
    check(testing.machine(cpus=255), VMNET_MACHINE="pc")
    with pytest.raises(MachineError, match=r"5000 CPUs, but .* q35 allows at most \d+$"):
        check(testing.machine(cpus=5000))
    check_without_qemu(testing.machine(cpus=5000), "-smp", "1")


def test_a_program_without_an_answer_is_left_to_the_start(tmp_path: Path) -> None:
    for number, script in enumerate(("exit 1", "echo unclear", "echo '{\"QMP\": {}}'")):
        wrapper = tmp_path / str(number)
        wrapper.write_text(f"#!/bin/sh\n{script}\n")
        wrapper.chmod(0o755)
        models.check(wrapper, testing.machine(), given(VMNET_CPU="Hasvell"))


def test_a_program_that_cannot_be_executed() -> None:
    with pytest.raises(LaunchError, match=re.escape(str(NO_PROGRAM))):
        check_without_qemu(testing.machine(), VMNET_CPU="Haswell")


def test_other_lines_among_the_answers() -> None:
    machines = [{"name": "pc-i440fx-7.2", "alias": "pc", "cpu-max": 255}]
    lines = [
        {"QMP": {}},
        {"id": "query-machines", "return": machines},
        {"event": "RESUME"},
        {"id": "query-cpu-definitions", "return": [{"name": "486"}]},
        {"id": "quit", "return": {}},
    ]
    offered = models.parse("\n".join(("started", "1", *map(json.dumps, lines))))
    assert offered == models.Offered({"pc-i440fx-7.2": 255, "pc": 255}, frozenset(("486",)))
