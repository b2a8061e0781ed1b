"""The folder VMNET_DISK_STATE belongs to one VM at a time."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import pytest

from vmnet import testing
from vmnet.errors import MachineError
from vmnet.lifecycle import state_folder as folders
from vmnet.model.devices import Base, Device, Disk
from vmnet.model.firmware import Firmware, FirmwareVariables
from vmnet.planning.storage import state_folder
from vmnet.planning.storage.state_folder import StateFolder

PERSISTENT = Disk(Path("/disk"), "raw")
EPHEMERAL = Disk(Path("/disk"), "raw", ephemeral=True)
OVERLAY = Disk(Path("/state/overlay.qcow2"), "qcow2", base=Base(Path("/disk"), "raw"))
PLUGINS = Disk(Path("/elsewhere/overlay.qcow2"), "qcow2", base=Base(Path("/disk"), "raw"))
KEPT = Firmware("uefi", variables=FirmwareVariables(Path("/state/variables.fd"), Path("/template")))
LOST = Firmware("uefi", variables=FirmwareVariables(Path("/run/vmnet/v"), Path("/template")))


@pytest.mark.parametrize(
    ("devices", "firmware", "tpm", "is_used"),
    [
        ((PERSISTENT,), Firmware(), "off", False),
        ((OVERLAY,), Firmware(), "off", True),
        ((PLUGINS,), Firmware(), "off", False),
        ((PERSISTENT,), KEPT, "off", True),
        ((EPHEMERAL,), LOST, "off", False),
        ((PERSISTENT,), Firmware(), "on", True),
        ((EPHEMERAL,), Firmware(), "on", False),
        ((), None, "on", True),
    ],
)
def test_what_is_kept_there(
    devices: tuple[Device, ...], firmware: Firmware | None, tpm: str, is_used: bool
) -> None:
    settings = testing.settings({"VMNET_DISK_STATE": "/state", "VMNET_TPM": tpm})
    assert state_folder.of(settings, devices, firmware) == StateFolder(Path("/state"), is_used)


def test_a_second_vm_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path / "state", is_used=True)
    assert state_folder.require_free(folder) == f"no other VM uses {folder.path}"
    message = f"^VMNET_DISK_STATE={folder.path} is in use by another VM"
    with ExitStack() as first:
        fd = folders.hold(folder, "db", first)
        inherited = os.dup(fd)  # as the hypervisor has it after the exec
    with pytest.raises(MachineError, match=message) as caught:
        state_folder.require_free(folder)
    assert "a folder of its own for each VM" in caught.value.hint
    with pytest.raises(MachineError, match=message), ExitStack() as second:
        folders.hold(folder, "web", second)
    os.close(inherited)
    with ExitStack() as third:
        folders.hold(folder, "web", third)
    assert state_folder.require_free(folder)


def test_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path / "loop", is_used=True)
    folder.path.symlink_to("loop")
    with pytest.raises(MachineError, match=f"^VMNET_DISK_STATE={folder.path} can't be used: Too"):
        state_folder.require_free(folder)
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match="can't be used: Not a directory"), ExitStack() as undo:
        folders.hold(StateFolder(tmp_path / "file/state", is_used=True), "web", undo)


def test_a_file_that_cannot_be_written_names_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MachineError) as caught:
        folders.write(tmp_path / "file/variables.fd", b"")
    assert "VMNET_DISK_STATE names the folder" in caught.value.hint
