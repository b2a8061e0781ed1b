"""Whether the guest's memory is there, by what the kernel says of host and container."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmnet import memory
from vmnet.errors import MachineError

_GIB = 1 << 30


@pytest.fixture(autouse=True)
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What it says, to be written: a host with 3 GiB and 1 GiB of swap, and no limit."""
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_OVERCOMMIT", tmp_path / "overcommit")
    monkeypatch.setattr(memory, "_LIMITS", (tmp_path / "memory.max", tmp_path / "limit_in_bytes"))
    lines = (
        *("MemTotal: 3145728 kB", "MemFree: 17 kB", "SwapTotal: 1048576 kB", "HugePages_Total: 0"),
        *("CommitLimit: 2097152 kB", "Committed_AS: 1048576 kB", ""),
    )
    (tmp_path / "meminfo").write_text("\n".join(lines))
    (tmp_path / "overcommit").write_text("0\n")
    return tmp_path


def test_a_guest_fits_into_memory_and_swap(kernel: Path) -> None:
    memory.require(4 * _GIB)


def test_a_guest_too_big_is_refused(kernel: Path) -> None:
    with pytest.raises(MachineError, match="VMNET_MEMORY is 4097 MiB, and the host has 4096 MiB"):
        memory.require(4 * _GIB + (1 << 20))


def test_where_the_kernel_never_refuses_it_is_not_refused(kernel: Path) -> None:
    (kernel / "overcommit").write_text("1\n")
    memory.require(64 * _GIB)


def test_where_the_kernel_counts_what_it_grants_the_rest_is_what_there_is(kernel: Path) -> None:
    (kernel / "overcommit").write_text("2\n")
    memory.require(1 * _GIB)
    with pytest.raises(MachineError, match="VMNET_MEMORY is 1025 MiB, and the host has 1024 MiB"):
        memory.require(1025 << 20)


@pytest.mark.parametrize("file", ["memory.max", "limit_in_bytes"])
def test_a_container_too_small_is_told(kernel: Path, file: str) -> None:
    (kernel / file).write_text(f"{800 << 20}\n")
    assert memory.shortage(512 << 20) == "the container may use 800 MiB, guest and QEMU together"
    assert memory.shortage(500 << 20) == ""


@pytest.mark.parametrize(
    ("file", "text"),
    [("memory.max", "max"), ("limit_in_bytes", "9223372036854771712"), ("limit_in_bytes", "-1")],
)
def test_no_limit(kernel: Path, file: str, text: str) -> None:
    (kernel / file).write_text(f"{text}\n")
    assert memory.shortage(4 * _GIB) == ""


def test_nothing_is_known(kernel: Path) -> None:
    (kernel / "meminfo").unlink()
    (kernel / "meminfo").mkdir()  # opens, and can't be read
    memory.require(64 * _GIB)
    assert memory.shortage(64 * _GIB) == ""
