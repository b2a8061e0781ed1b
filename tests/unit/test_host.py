"""The checks of the kernel and the container's limits."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.lab.command import run
from vmnet.errors import LaunchError
from vmnet.planning.hardware import host


@pytest.fixture(autouse=True)
def unlimited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a limit of processes, which does not exist yet."""
    limit = tmp_path / "pids.max"
    monkeypatch.setattr(host, "_TASK_LIMITS", (limit,))
    return limit


def test_this_machine_suffices() -> None:
    host.require(1)


@pytest.mark.parametrize("call", ["pidfd_open", "memfd_create"])
@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EPERM])
def test_a_system_call_that_is_refused_is_named(
    call: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(LaunchError, match=rf"{call}\(2\) is not available") as caught:
        host.require(1)
    assert "Linux 5.3" in caught.value.hint


def test_few_open_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sysconf", {"SC_OPEN_MAX": 64}.__getitem__)
    with pytest.raises(LaunchError, match="may open only 64 files") as caught:
        host.require(1)
    assert "--ulimit nofile=512" in caught.value.hint


def test_the_limit_of_this_process_is_read() -> None:
    program = "from vmnet.planning.hardware import host; host.require(1)"
    words = ("prlimit", "--nofile=64", "--", sys.executable, "-c", program)
    assert "may open only 64 files" in run(*words, check=False).stderr


@pytest.mark.parametrize(("limit", "cpus"), [("6", 1), ("33", 2)])
def test_few_processes_are_refused(limit: str, cpus: int, unlimited: Path) -> None:
    unlimited.write_text(f"{limit}\n")
    with pytest.raises(LaunchError, match=f"only {limit} processes and threads") as caught:
        host.require(cpus)
    assert f"--pids-limit {32 + cpus}" in caught.value.hint


@pytest.mark.parametrize("limit", ["max", "33", "4096"])
def test_enough_processes_are_accepted(limit: str, unlimited: Path) -> None:
    unlimited.write_text(f"{limit}\n")
    host.require(1)
