"""The guest's memory in huge pages."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmnet import testing
from vmnet.errors import MachineError
from vmnet.model.devices import Balloon
from vmnet.model.machine import Machine
from vmnet.planning.booting.boot import Boot
from vmnet.planning.hardware import container_limits, memory
from vmnet.planning.machine import assemble


def machine(size: str) -> Machine:
    settings = testing.settings({"VMNET_MEMORY": size, "VMNET_HUGEPAGES": "on"})
    identity = testing.identity()
    return assemble(settings, identity, testing.wiring(identity), Boot(), ())


@pytest.fixture
def limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host with 100 huge pages of 2 MiB, 10 of them promised, and the folder of its limits."""
    fields = {"HugePages_Total": 200, "HugePages_Free": 100, "HugePages_Rsvd": 10}
    lines = [f"{name}: {value}\n" for name, value in fields.items()]
    (tmp_path / "meminfo").write_text("".join((*lines, "Hugepagesize: 2048 kB\n")))
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(container_limits, "_ROOT", tmp_path)
    monkeypatch.setattr(container_limits, "_OWN", tmp_path / "absent")
    return tmp_path


@pytest.mark.usefixtures("limits")
def test_the_memory_is_whole_pages_and_never_returned() -> None:
    found = machine("177M")
    assert (found.memory, found.huge_page) == (178 << 20, 2 << 20)
    assert Balloon() not in found.devices


@pytest.mark.usefixtures("limits")
def test_too_few_free_pages_are_refused() -> None:
    with pytest.raises(MachineError, match="needs 91 huge pages of 2 MiB, but the host has 90"):
        machine("181M")


def test_a_limit_of_the_container_is_refused(limits: Path) -> None:
    (limits / "hugetlb.2MB.max").write_text("max\n")
    machine("128M")
    (limits / "hugetlb.2MB.max").write_text(f"{100 << 20}\n")
    with pytest.raises(MachineError, match=r"needs 64 huge .* container may use 50"):
        machine("128M")


def test_a_kernel_without_huge_pages_is_refused(limits: Path) -> None:
    (limits / "meminfo").write_text("MemTotal: 1024 kB\n")
    with pytest.raises(MachineError, match="the host's kernel has no huge pages"):
        machine("64M")
