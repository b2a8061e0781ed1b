"""Snapshots: which disks can contain them, what is refused, and how QEMU's jobs end."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO, Any

import pytest

from tests.unit import qmp, running
from vmnet import cli
from vmnet.errors import GuestError, UsageError
from vmnet.running import health, snapshot_lock, snapshots
from vmnet.running.health import Health
from vmnet.running.snapshots import Snapshot

TAKEN = {"name": "one", "date-sec": 1000, "vm-state-size": 5 << 20}
Capture = pytest.CaptureFixture[str]


def block(device: str = "disk0", driver: str = "qcow2", **changed: Any) -> dict[str, Any]:
    """An entry of QEMU's answer to query-block."""
    inserted = {
        "node-name": f"#{device}",
        "drv": driver,
        "ro": False,
        "file": "/dev/fdset/0",
        "backing_file_depth": 0,
        "image": {"snapshots": [TAKEN]},
    }
    return {"device": device, "inserted": {**inserted, **changed}}


def test_disks_are_what_the_guest_can_write() -> None:
    found = snapshots.disks(
        (
            block(),
            block("cd0", "raw", ro=True),
            {"device": "empty"},
            block("pflash1", "raw"),
            {**block("", "raw"), "qdev": "/machine/system.flash1/virtio-backend"},
        )
    )
    assert [disk.device for disk in found] == ["disk0"]


@pytest.mark.parametrize(
    ("blocks", "why"),
    [
        ((), "no writable disk"),
        ((block("cd0", "raw", ro=True),), "no writable disk"),
        ((block(), block("disk1", "raw")), "disk1 is raw"),
        (
            (block(backing_file_depth=1, file='json:{"filename": "/var/tmp/vl.YQPOZ3"}}'),),
            "VMNET_DISK_MODE=ephemeral",
        ),
    ],
)
def test_a_disk_that_can_not_contain_a_snapshot_is_refused(
    blocks: tuple[dict[str, Any], ...], why: str
) -> None:
    with pytest.raises(GuestError, match=why) as refused:
        snapshots.usable(snapshots.disks(blocks))
    assert "VMNET_DISK" in refused.value.hint


def test_snapshots_are_sorted_and_complete_if_each_disk_has_them() -> None:
    later = {**TAKEN, "name": "later", "date-sec": 2000}
    without_memory = {**TAKEN, "vm-state-size": 0}
    found = snapshots.disks(
        (
            block(image={"snapshots": [later, TAKEN]}),
            block("disk1", image={"snapshots": [without_memory]}),
        )
    )
    assert snapshots.snapshots(found) == (
        Snapshot("one", 1000, 5 << 20, complete=True),
        Snapshot("later", 2000, 5 << 20, complete=False),
    )
    assert snapshots.snapshots(()) == ()


def vmnet_snapshot(tmp_path: Path, *words: str, **answers: Any) -> list[str]:
    """Run the command, and return the commands that QEMU got."""
    running.machine(tmp_path, agent=None)
    with qmp.qemu(tmp_path / "qmp.sock") as qemu:
        given = {key.replace("_", "-"): value for key, value in answers.items()}
        qemu.answers = {**qemu.answers, "query-block": [block()], **given}
        assert cli.main(("snapshot", *words), {"VMNET_RUN_DIR": str(tmp_path)}) == 0
        return qemu.told


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("create",), "NAME is missing"),
        (("list", "one"), "takes no NAME"),
        (("create", "7"), "is not a name"),
        (("create", "a/b"), "is not a name"),
        (("shrink",), "invalid choice"),
    ],
)
def test_a_wrong_command_line(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        vmnet_snapshot(tmp_path, *words)


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (("create", "one"), "there is a snapshot one already", "delete it"),
        (("restore", "two"), "no snapshot two", "there are one"),
        (("delete", "two"), "no snapshot two", "there are one"),
    ],
)
def test_a_name_that_does_not_fit(
    tmp_path: Path, words: tuple[str, ...], message: str, hint: str
) -> None:
    with pytest.raises(GuestError, match=message) as refused:
        vmnet_snapshot(tmp_path, *words)
    assert hint in refused.value.hint


def test_an_incomplete_snapshot_is_not_restored(tmp_path: Path) -> None:
    blocks = [block(), block("disk1", image={})]
    with pytest.raises(GuestError, match="lacks the memory, or one of the VM's disks"):
        vmnet_snapshot(tmp_path, "restore", "one", query_block=blocks)


def test_disks_of_different_vms_are_not_restored(tmp_path: Path) -> None:
    blocks = [block(), block("disk1")]
    with pytest.raises(GuestError, match="2 disks have a memory named one") as refused:
        vmnet_snapshot(tmp_path, "restore", "one", query_block=blocks)
    assert "qemu-img snapshot -d one" in refused.value.hint


def test_thawing_needs_an_agent(tmp_path: Path) -> None:
    with pytest.raises(GuestError, match="may still be frozen: this VM has no channel"):
        vmnet_snapshot(tmp_path, "thaw")


def test_a_job_of_another_program_is_waited_for(tmp_path: Path) -> None:
    job = {"id": "vmnet-snapshot-1", "status": "running"}
    with pytest.raises(GuestError, match="still works on another snapshot"):
        vmnet_snapshot(tmp_path, "delete", "one", query_jobs=[job])


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (("create", "two"), "carry out snapshot-save: No space", "is there room"),
        (("delete", "one"), "carry out snapshot-delete: No space", "is there room"),
        (("restore", "one"), "No space left; the guest is paused", "restart of the container"),
    ],
)
def test_a_failed_job_is_an_error(
    tmp_path: Path, words: tuple[str, ...], message: str, hint: str
) -> None:
    name = f"vmnet-snapshot-{os.getpid()}"
    job = {"id": name, "status": "concluded", "error": "No space left"}
    with pytest.raises(GuestError, match=message) as failed:
        vmnet_snapshot(tmp_path, *words, query_jobs=[job])
    assert hint in failed.value.hint


@pytest.mark.parametrize("words", [("create", "two"), ("restore", "one")])
def test_a_device_that_prevents_snapshots(tmp_path: Path, words: tuple[str, str]) -> None:
    """It is found before the guest's file systems are frozen, and before the disks change."""
    blocked = {"blocked-reasons": ["non-migratable device: vhost-user-fs"]}
    with pytest.raises(GuestError, match=r"can't have snapshots: .*vhost-user-fs") as refused:
        vmnet_snapshot(tmp_path, *words, query_migrate=blocked)
    assert "VMNET_SHARE" in refused.value.hint


def test_jobs_are_dismissed(tmp_path: Path) -> None:
    job = {"id": f"vmnet-snapshot-{os.getpid()}", "status": "concluded"}
    told = vmnet_snapshot(tmp_path, "delete", "one", query_jobs=[job])
    assert told[-3:] == ["snapshot-delete", "query-jobs", "job-dismiss"]


def test_the_list(tmp_path: Path, capsys: Capture) -> None:
    vmnet_snapshot(tmp_path, "list")
    _, line = capsys.readouterr().out.splitlines()
    assert line.startswith("one   1970-01-01")
    assert line.endswith("5 MiB")


def test_a_snapshot_at_work_prevents_another_and_is_healthy(tmp_path: Path) -> None:
    """The guest is paused and does not answer."""
    assert not snapshot_lock.is_locked(tmp_path)
    with snapshot_lock.locked(tmp_path):
        with pytest.raises(GuestError, match="another `vmnet snapshot` is at work"):
            vmnet_snapshot(tmp_path, "delete", "one")
        assert health.examine(tmp_path, 0) == Health(
            "healthy", "the guest is paused for a snapshot"
        )
    assert not snapshot_lock.is_locked(tmp_path)


def test_a_look_at_the_lock_refuses_no_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`vmnet health` and the metrics share the lock for a moment."""
    flock = fcntl.flock
    with (tmp_path / "snapshot.lock").open("w") as looking:
        flock(looking, fcntl.LOCK_SH)

        def ending_flock(file: IO[str], operation: int) -> None:
            if operation == fcntl.LOCK_EX:
                looking.close()
            flock(file, operation)

        monkeypatch.setattr(fcntl, "flock", ending_flock)
        with snapshot_lock.locked(tmp_path):
            assert snapshot_lock.is_locked(tmp_path)
            with pytest.raises(GuestError, match="is at work"), snapshot_lock.locked(tmp_path):
                pass
