"""The guest's memory and CPUs, from the settings and the container's limits."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from vmnet import testing
from vmnet.planning.hardware import container_limits, memory, sizing

_MIB = 1 << 20
NONE = "9223372036854771712"  # no limit, with version 1


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of the control groups, on a host with 8 GiB and 4 CPUs."""
    monkeypatch.setattr(container_limits, "_ROOT", tmp_path)
    monkeypatch.setattr(container_limits, "_OWN", tmp_path / "own")
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1, 2, 3})
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    (tmp_path / "meminfo").write_text("MemTotal: 8388608 kB\nSwapTotal: 0 kB\n")
    return tmp_path


def limit(root: Path, files: Mapping[str, str], own: str = "0::/") -> None:
    """Write files of control groups, and the own group as in /proc/self/cgroup."""
    (root / "own").write_text(f"{own}\n")
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(f"{text}\n")


def mib(setting: str = "") -> int:
    environ = {"VMNET_MEMORY": setting} if setting else {}
    return sizing.memory_size(testing.settings(environ)) // _MIB


@pytest.mark.parametrize(
    ("setting", "bytes_", "expected"),
    [
        ("", "max", 512),
        ("", str(2048 * _MIB), 1748),
        ("auto", str(512 * _MIB), 212),
        ("", str(256 * _MIB), 64),
        ("", str(9000 * _MIB), 512),  # more than the host has
        ("", str(1000 * _MIB + 4096), 700),
        ("1G", str(2048 * _MIB), 1024),
        ("max", str(2048 * _MIB), 1748),
        ("max", "max", 7892),
        ("75%", str(2000 * _MIB), 1500),
        ("50%", "max", 4096),
        ("95%", str(1000 * _MIB), 700),
        ("100 %", str(1000 * _MIB), 700),
    ],
)
def test_memory(root: Path, setting: str, bytes_: str, expected: int) -> None:
    limit(root, {"memory.max": bytes_})
    assert mib(setting) == expected


def test_the_lowest_visible_limit_of_memory_counts(root: Path) -> None:
    files = {"memory.max": "max", "pod/memory.max": str(1000 * _MIB), "pod/vm/memory.max": "max"}
    limit(root, files, "0::/pod/vm")
    assert mib() == 700
    limit(root, {"pod/vm/memory.max": str(800 * _MIB)}, "0::/pod/vm")
    assert mib() == 500


def test_the_limit_of_an_invisible_parent_counts_with_version_1(root: Path) -> None:
    """Without a namespace of control groups, the path does not exist in the container."""
    statistics = f"cache 1\nhierarchical_memory_limit {900 * _MIB}\nhierarchical_memsw_limit 77"
    files = {"memory/memory.limit_in_bytes": NONE, "memory/memory.stat": statistics}
    limit(root, files, "5:memory:/docker/abc")
    assert mib() == 600


def cpus(setting: str = "") -> int:
    return sizing.cpu_count(testing.settings({"VMNET_CPUS": setting} if setting else {}))


@pytest.mark.parametrize(
    ("setting", "quota", "expected"),
    [
        ("", "max 100000", 1),
        ("", "200000 100000", 2),
        ("auto", "150000 100000", 2),
        ("", "50000 100000", 1),
        ("", "900000 100000", 4),
        ("", "junk", 1),
        ("3", "100000 100000", 3),
        ("max", "max 100000", 4),
        ("max", "250000 100000", 3),
    ],
)
def test_cpus(root: Path, setting: str, quota: str, expected: int) -> None:
    limit(root, {"cpu.max": quota})
    assert cpus(setting) == expected


@pytest.mark.parametrize(("quota", "expected"), [("-1", 1), ("300000", 3)])
def test_cpus_with_version_1(root: Path, quota: str, expected: int) -> None:
    files = {"cpu/cpu.cfs_quota_us": quota, "cpu/cpu.cfs_period_us": "100000"}
    limit(root, files, "4:cpu,cpuacct:/")
    assert cpus() == expected


@pytest.mark.parametrize(
    ("setting", "quota", "expected"),
    [
        ("", "max 100000", 2),
        ("max", "max 100000", 2),
        ("", "300000 100000", 2),
        ("", "100000 100000", 1),
        ("3", "max 100000", 3),
    ],
)
def test_a_set_of_cpus_is_a_limit(
    root: Path, monkeypatch: pytest.MonkeyPatch, setting: str, quota: str, expected: int
) -> None:
    """As of ``docker run --cpuset-cpus 0,3`` on a host with four."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 3})
    limit(root, {"cpuset.cpus": "0,3", "cpu.max": quota})
    assert cpus(setting) == expected


@pytest.mark.parametrize(("listed", "expected"), [("1-3", 3), ("0-1,3", 3), ("2", 1), ("0-3", 1)])
def test_a_set_of_cpus_with_version_1(root: Path, listed: str, expected: int) -> None:
    """Without a set of its own, a container has that of its parent."""
    limit(root, {"cpuset/cpuset.cpus": listed}, "3:cpuset:/")
    assert cpus() == expected


def test_cpus_that_the_host_keeps_from_all_programs_are_no_limit(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1})  # isolcpus=2,3
    limit(root, {"cpuset.cpus": ""})
    assert cpus() == 1
