"""The demonstration Linux in a real QEMU, in a container's namespace."""

from __future__ import annotations

import fcntl
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from tests.lab.command import Completed, Process, run
from tests.lab.console import Console
from tests.lab.folders import open_to_readers
from tests.lab.images.cache import cache
from tests.lab.images.initrd import appended
from tests.lab.net.lan import Lan, lan
from tests.lab.net.namespace import Namespace
from tests.lab.progress import step
from tests.lab.wait import WAIT, until

VMNET = (sys.executable, "-m", "vmnet")
BUILDER = Path(__file__).parents[2] / "guest" / "build"
BOOT_SECONDS = 2 * WAIT  # under TCG, where a boot takes some seconds
PROMPT = "vmnet-guest# "
PROMPT_LINE = re.escape(PROMPT)
PATIENT = {"VMNET_STOP_TIMEOUT": str(WAIT)}
"""For a guest that must power off by itself: by default, it has as long as `docker stop` waits."""


@frozen
class Guest:
    """A running VM: its process and its console's output."""

    process: Process

    def says(self, text: str, timeout: float = BOOT_SECONDS) -> str:
        """Await a text on the console."""
        until(lambda: self._has(text), timeout, f"{text!r} on the console", detail=self.output)
        return self.output()

    def output(self) -> str:
        return self.process.output()

    def _has(self, text: str) -> bool:
        has_ended = self.process.poll() is not None  # before the look, which then is the last
        if text in self.output():
            return True
        if has_ended:
            self.process.require_running()
        return False


@frozen
class DemoVm:
    """The environment of a ``vmnet run`` that boots the demonstration Linux."""

    environ: Mapping[str, str]

    @contextmanager
    def booted(self, container: Namespace, *arguments: str, **settings: str) -> Iterator[Guest]:
        """Start a VM, and yield it when QEMU runs; the guest may not have booted yet."""
        command = (*VMNET, "run", *arguments)
        environ = {**self.environ, **settings}
        with container.popen(*command, env=environ, pid=True, apart=True) as process:
            ran = lambda: _has_become_qemu(process)  # noqa: E731
            until(ran, WAIT, "QEMU to be process 1", detail=process.output)
            yield Guest(process)


def booting(machine: DemoVm, init: Path, folder: Path, **files: Path) -> dict[str, str]:
    """Return settings that boot the demonstration Linux with another first program.

    :param init: the program, which is /first in the guest
    :param folder: for the initial RAM disk
    :param files: further files in the root folder of the guest
    """
    demo = Path(machine.environ["VMNET_DEMO"])
    paths = {"/first": init, **{f"/{name}": path for name, path in files.items()}}
    return {
        "VMNET_KERNEL": str(demo / "vmlinuz"),
        "VMNET_INITRD": str(appended(demo / "initrd", paths, folder / "initrd")),
        "VMNET_APPEND": "console=ttyS0 quiet panic=-1 rdinit=/first",
    }


def boot_sector(folder: Path, code: bytes) -> dict[str, str]:
    """Return settings that boot a program, at most 510 bytes of 16-bit code, from a disk."""
    disk = folder / "disk.raw"
    disk.write_bytes((code.ljust(510, b"\0") + b"\x55\xaa").ljust(1 << 20, b"\0"))
    return {
        "VMNET_DISK": str(disk),
        "VMNET_DISK_FORMAT": "raw",
        "VMNET_MEMORY": "64M",
        "VMNET_STOP_TIMEOUT": "2",
    }


def _has_become_qemu(process: Process) -> bool:
    """Return whether QEMU runs, or has ended: a boot sector may end it within a moment."""
    if process.poll() is not None:
        if "vmnet: error: " in process.output():
            process.require_running()
        return True
    try:
        name = Path(f"/proc/{process.pid}/comm").read_text()
    except (FileNotFoundError, ProcessLookupError):  # it ended after poll()
        return False
    return name.startswith("qemu-system")


def await_shell(console: Console, up: str = r"vmnet-guest: eth0 [^\n]*via") -> None:
    """Await the prompt of the demonstration Linux, at which nothing has been typed yet.

    :param up: a pattern of the line that reports the network, before or after the prompt
    """
    console.expect(f"(?s){up}.*{PROMPT_LINE}|{PROMPT_LINE}.*{up}", BOOT_SECONDS)


def ask(station: Namespace, address: str, page: str) -> Any:
    """Return a JSON page of the guest's web server, when a station gets it."""
    url = f"http://{address}/cgi-bin/{page}"
    curl = ("curl", "-sS", "--fail", "--max-time", "60", url)

    def answer() -> Completed | None:
        done = station.run(*curl, check=False)
        return done if done.returncode == 0 else None

    detail = lambda: station.run(*curl, check=False).stderr  # noqa: E731
    return until(answer, BOOT_SECONDS, url, interval=0.5, detail=detail).json()


@pytest.fixture(scope="session")
def demo_guest() -> Path:
    """The folder with the demonstration Linux, which is built once."""
    if folder := os.environ.get("VMNET_DEMO"):
        return Path(folder)
    made = cache() / "guest"
    with step("building the demonstration guest"):
        run(BUILDER, made, timeout=600)
    return made


@pytest.fixture(scope="session")
def arm_guest(demo_guest: Path) -> Path:
    """The folder of the demonstration Linux, which now also has that for aarch64."""
    with Path(demo_guest, "aarch64.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests that run in parallel build it once
        with step("building the demonstration guest for aarch64"):
            run(BUILDER, demo_guest / "aarch64", "arm64", timeout=600)
    return demo_guest


@pytest.fixture
def network() -> Iterator[Lan]:
    with lan(ipv6=True) as made:
        yield made


@pytest.fixture
def machine(demo_guest: Path, tmp_path: Path) -> DemoVm:
    open_to_readers(tmp_path)
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("VMNET_")}
    return DemoVm(
        {
            **inherited,
            "VMNET_DEMO": str(demo_guest),
            "VMNET_RUN_DIR": str(tmp_path / "run"),
            "VMNET_DISK_STATE": str(tmp_path / "state"),
            "VMNET_MEMORY": "256M",
        }
    )
