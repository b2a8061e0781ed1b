"""The guest mounts folders of the container."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.images.kernel_modules import modules
from tests.lab.net.lan import Lan
from tests.vm.conftest import DemoVm, booting
from tests.vm.test_running import Inside, kill

pytestmark = pytest.mark.vm

_SHARER = Path(__file__).with_name("sharer")


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path, because the path is the folder's name in the guest."""
    with tempfile.TemporaryDirectory(prefix="vmt-", dir="/tmp") as name:
        yield Path(name)


def test_the_guest_reads_and_writes_a_folder(
    network: Lan, machine: DemoVm, tmp_path: Path, folder: Path
) -> None:
    (folder / "from-container").write_text("written by the container\n")
    demo = Path(machine.environ["VMNET_DEMO"])
    loaded = modules(demo / "vmlinuz", "fuse", "virtiofs")
    settings = booting(machine, _SHARER / "init", tmp_path, **loaded)
    settings["VMNET_APPEND"] += f" tag=tmp-{folder.name}"
    settings["VMNET_SHARE"] = str(folder)
    run_dir = Path(machine.environ["VMNET_RUN_DIR"])
    with machine.booted(network.container("web"), **settings) as guest:
        guest.says("sharer: done")
        assert "written by the container" in guest.output()
        written = folder / "from-guest"
        assert written.read_text() == "written by the guest\n"
        found = written.stat()
        assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (1000, 1001, 0o640)
        socket = (run_dir / "virtiofsd0.sock").stat()
        assert (socket.st_uid, socket.st_mode & 0o777) == (0, 0o600)

        # QEMU connects only once: without its daemon, the folder is lost until the next start.
        inside = Inside(guest, machine, settings)
        pidfile = run_dir / "virtiofsd0.pid"
        kill(inside, int(pidfile.read_text()))
        inside.becomes("unhealthy", because=f"virtiofsd of {folder}")
