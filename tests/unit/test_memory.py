"""The guest's memory against the host's memory and the container's limit."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmnet.errors import MachineError
from vmnet.planning.hardware import container_limits, memory

_GIB = 1 << 30


@pytest.fixture(autouse=True)
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the kernel's files: a host with 3 GiB and 1 GiB of swap, without a limit."""
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_OVERCOMMIT", tmp_path / "overcommit")
    monkeypatch.setattr(container_limits, "_ROOT", tmp_path)
    monkeypatch.setattr(container_limits, "_OWN", tmp_path / "own")
    (tmp_path / "memory").mkdir()
    lines = (
        *("MemTotal: 3145728 kB", "MemFree: 17 kB", "SwapTotal: 1048576 kB", "HugePages_Total: 0"),
        *("CommitLimit: 2097152 kB", "Committed_AS: 1048576 kB", ""),
    )
    (tmp_path / "meminfo").write_text("\n".join(lines))
    (tmp_path / "overcommit").write_text("0\n")
    return tmp_path


def test_a_guest_fits_into_memory_and_swap(kernel: Path) -> None:
    memory.require(4 * _GIB)


def test_a_guest_that_is_too_big_is_refused(kernel: Path) -> None:
    refusal = "VMNET_MEMORY is 4097 MiB, but the host grants at most 4096 MiB"
    with pytest.raises(MachineError, match=refusal):
        memory.require(4 * _GIB + (1 << 20))


def test_a_kernel_that_always_overcommits_grants_any_size(kernel: Path) -> None:
    (kernel / "overcommit").write_text("1\n")
    memory.require(64 * _GIB)


def test_a_kernel_that_never_overcommits_grants_the_uncommitted_rest(kernel: Path) -> None:
    (kernel / "overcommit").write_text("2\n")
    memory.require(1 * _GIB)
    refusal = "VMNET_MEMORY is 1025 MiB, but the host grants at most 1024 MiB"
    with pytest.raises(MachineError, match=refusal):
        memory.require(1025 << 20)


@pytest.mark.parametrize("file", ["memory.max", "memory/memory.limit_in_bytes"])
def test_a_container_limit_that_is_too_low_is_reported(kernel: Path, file: str) -> None:
    (kernel / file).write_text(f"{800 << 20}\n")
    shortage = "the container's memory limit is 800 MiB for the guest and QEMU"
    assert memory.shortage(512 << 20) == shortage
    assert memory.shortage(500 << 20) == ""


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("memory.max", "max"),
        ("memory/memory.limit_in_bytes", "9223372036854771712"),
        ("memory/memory.limit_in_bytes", "-1"),
    ],
)
def test_no_limit(kernel: Path, file: str, text: str) -> None:
    (kernel / file).write_text(f"{text}\n")
    assert memory.shortage(4 * _GIB) == ""


def test_an_unreadable_meminfo(kernel: Path) -> None:
    (kernel / "meminfo").unlink()
    (kernel / "meminfo").mkdir()  # can be opened, but not read
    memory.require(64 * _GIB)
    assert memory.shortage(64 * _GIB) == ""
