"""A VM that was saved is resumed once, by the same machine with the same disks; else it boots."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from tests.unit import qmp, running
from tests.unit.qmp import Qemu
from tests.unit.test_snapshots import block
from vmnet.errors import GuestError, StateError
from vmnet.lifecycle import command_record, saved_vm
from vmnet.lifecycle import resume as start
from vmnet.lifecycle.vm_record import VmRecord
from vmnet.model.machine import Command, Opened
from vmnet.running import qmp_session, resume, save, snapshot_lock, snapshots
from vmnet.running.qmp_session import QmpSession

COMMAND = Command(("qemu", "-S", "-m", "256", "-object", "secret,id=one,data=hunter2"))
NICS = (running.NIC,)
SAVED = "vmnet-saved"
TAKEN = block(image={"snapshots": [{"name": SAVED, "date-sec": 1, "vm-state-size": 5}]})
JOB = {"id": f"vmnet-snapshot-{os.getpid()}", "status": "concluded"}


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.qcow2"
    path.write_bytes(b"content")
    return path


def test_the_same_machine_does_not_differ(image: Path) -> None:
    assert not list(saved_vm.differences(record(image), COMMAND, NICS))


def record(image: Path) -> saved_vm.SavedVm:
    return saved_vm.describe(COMMAND, "10.0.2", NICS, [image])


@pytest.mark.parametrize(
    ("argv", "nic", "said"),
    [
        (("qemu", "-S", "-m", "512", *COMMAND.argv[4:]), {}, "these options of QEMU differ: -m"),
        ((*COMMAND.argv[:5], "secret,data=x"), {}, "these options of QEMU differ: -object"),
        ((*COMMAND.argv, "-vga"), {}, "these options of QEMU differ: -vga"),
        (
            COMMAND.argv,
            {"addresses": ("172.17.0.9",)},
            "the guest's NICs were eth0 02:42:ac:11:00:02 172.17.0.2 and are "
            "eth0 02:42:ac:11:00:02 172.17.0.9",
        ),
    ],
)
def test_differences_are_named_without_secrets(
    image: Path, argv: tuple[str, ...], nic: dict[str, Any], said: str
) -> None:
    now = (evolve(running.NIC, **nic),)
    found = list(saved_vm.differences(record(image), evolve(COMMAND, argv=argv), now))
    assert found == [said]


def test_a_changed_disk_and_cpu_differ(image: Path) -> None:
    saved = evolve(record(image), cpu="another")
    os.utime(image, ns=(0, 0))
    said = ["the host has another CPU", f"{image} has changed"]
    assert list(saved_vm.differences(saved, COMMAND, NICS)) == said
    image.unlink()
    assert list(saved_vm.differences(saved, COMMAND, NICS)) == said


def test_the_record_is_used_once(tmp_path: Path, image: Path) -> None:
    assert not saved_vm.exists(tmp_path)
    saved_vm.save(tmp_path, record(image))
    assert saved_vm.exists(tmp_path)
    assert saved_vm.take(tmp_path) == record(image)
    assert saved_vm.take(tmp_path) is None


@contextmanager
def running_vm(tmp_path: Path, image: Path, **answers: Any) -> Iterator[tuple[VmRecord, Qemu]]:
    command_record.save(tmp_path, evolve(COMMAND, opened=(Opened(image, 9, writable=True),)))
    machine = running.machine(tmp_path, agent=None)
    with qmp.qemu(tmp_path / "qmp.sock") as qemu:
        given = {"query-block": [block(image={})], "query-jobs": [JOB]}
        given |= {key.replace("_", "-"): value for key, value in answers.items()}
        qemu.answers = {**qemu.answers, **given}
        yield machine, qemu


def changes(told: list[str]) -> list[str]:
    return [command for command in told if not command.startswith(("q", "job"))]


@pytest.mark.parametrize(
    "file",
    ["/dev/fdset/0", 'json:{"driver": "qcow2", "file": {"filename": "/dev/fdset/0"}}', "{image}"],
)
def test_saving_stops_the_guest_and_ends_qemu_afterwards(
    tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    ended: list[Path] = []
    monkeypatch.setattr(save, "quit_after_exit", ended.append)
    disks = [block(image={}, file=file.replace("{image}", str(image)))]
    with running_vm(tmp_path, image, query_block=disks) as (machine, qemu):
        assert save.save(machine, tmp_path).result == "saved"
    assert changes(qemu.told) == ["stop", "snapshot-save", "stop"]
    assert ended == [tmp_path / "qmp.sock"]
    saved = saved_vm.take(tmp_path)
    assert saved is not None
    assert saved.argv == COMMAND.argv
    assert [path for path, *_ in saved.images] == [str(image)]


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({"query_status": {"status": "paused"}}, "only a running guest can be saved"),
        ({"query_block": [block(driver="raw")]}, "disk0 is raw"),
        ({"query_migrate": {"blocked-reasons": ["virtiofs"]}}, "can't have snapshots: virtiofs"),
        ({"query_block": [TAKEN]}, "contain a saved state already"),
        ({"query_block": [block(file="/nonexistent", image={})]}, "/nonexistent is not an image"),
    ],
)
def test_what_can_not_be_saved_runs_on(
    tmp_path: Path, image: Path, answers: dict[str, Any], said: str
) -> None:
    with (
        running_vm(tmp_path, image, **answers) as (machine, qemu),
        pytest.raises(GuestError, match=said) as refused,
    ):
        save.save(machine, tmp_path)
    assert refused.value.hint
    assert changes(qemu.told) == []
    assert not saved_vm.exists(tmp_path)


def test_a_guest_that_qemu_fails_to_save_runs_on(tmp_path: Path, image: Path) -> None:
    failed = [JOB | {"error": "No space left on device"}]
    with (
        running_vm(tmp_path, image, query_jobs=failed) as (machine, qemu),
        pytest.raises(GuestError, match="No space left"),
    ):
        save.save(machine, tmp_path)
    assert changes(qemu.told) == ["stop", "snapshot-save", "cont"]
    assert not saved_vm.exists(tmp_path)


def test_a_save_that_can_not_be_recorded_leaves_no_snapshot(
    tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(run_dir: Path, saved: object) -> None:
        qemu.answers = {**qemu.answers, "query-block": [TAKEN]}
        raise StateError("can't write saved.json", "make room")

    monkeypatch.setattr(saved_vm, "save", fail)
    with running_vm(tmp_path, image) as (machine, qemu), pytest.raises(StateError):
        save.save(machine, tmp_path)
    assert changes(qemu.told) == ["stop", "snapshot-save", "stop", "snapshot-delete", "cont"]


def test_images_that_qemu_only_reads_are_recorded(
    tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guest has cached their content. Each start makes those in the run directory."""
    monkeypatch.setattr(save, "quit_after_exit", lambda path: None)
    read, seed, run_dir = tmp_path / "read.img", tmp_path / "run" / "seed.iso", tmp_path / "run"
    run_dir.mkdir()
    for path in (read, seed):
        path.write_bytes(b"content")
    with running_vm(run_dir, image) as (machine, _):
        opened = (Opened(image, 9, writable=True), Opened(read, 10), Opened(seed, 11))
        command_record.save(run_dir, evolve(COMMAND, opened=opened))
        save.save(machine, run_dir)
    saved = saved_vm.take(run_dir)
    assert saved is not None
    assert [path for path, *_ in saved.images] == [str(image), str(read)]


def test_an_interrupted_save_waits_until_the_guest_runs_on(
    tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While QEMU writes the memory, it answers nothing."""
    waits: dict[str, float] = {}
    ask = QmpSession.ask

    def recording_ask(session: QmpSession, command: str, *given: Any, **named: Any) -> Any:
        waits[command] = named.get("seconds", qmp_session.SECONDS)
        if command == "snapshot-save":
            raise KeyboardInterrupt
        return ask(session, command, *given, **named)

    monkeypatch.setattr(QmpSession, "ask", recording_ask)
    with running_vm(tmp_path, image) as (machine, qemu), pytest.raises(KeyboardInterrupt):
        save.save(machine, tmp_path)
    assert changes(qemu.told) == ["stop", "cont"]
    assert waits["cont"] == waits["snapshot-save"] == snapshots.SECONDS


def resumed(tmp_path: Path, image: Path, version: str, **answers: Any) -> list[str]:
    with running_vm(tmp_path, image, **{"query_block": [TAKEN], **answers}) as (_, qemu):
        resume.main(str(tmp_path), str(os.getpid()), version)
    assert not snapshot_lock.is_locked(tmp_path)
    return changes(qemu.told)


def test_the_saved_state_is_loaded_and_deleted(tmp_path: Path, image: Path) -> None:
    told = resumed(tmp_path, image, "10.0.2 ")
    assert told == ["stop", "snapshot-load", "cont", "snapshot-delete"]


@pytest.mark.parametrize(
    ("version", "answers", "loads"),
    [
        ("9.2.0 ", {}, []),
        ("10.0.2 ", {"query_block": [block(image={})]}, []),
        ("10.0.2 ", {"query_jobs": [JOB | {"error": "Unknown section"}]}, ["snapshot-load"]),
    ],
)
def test_a_guest_that_can_not_be_resumed_boots(
    tmp_path: Path,
    image: Path,
    capfd: pytest.CaptureFixture[str],
    version: str,
    answers: dict[str, Any],
    loads: list[str],
) -> None:
    told = resumed(tmp_path, image, version, **answers)
    assert told == ["stop", *loads, "system_reset", "cont"]
    said = capfd.readouterr().err
    assert "error: the guest boots, and is not resumed as it was saved: " in said
    assert f"`vmnet snapshot restore {SAVED}`" in said
    assert "is paused" not in said


def test_a_qemu_that_can_not_be_reached_boots(
    tmp_path: Path, image: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with running_vm(tmp_path, image), snapshot_lock.locked(tmp_path):
        resume.main(str(tmp_path), str(os.getpid()), "10.0.2 ")
    said = capfd.readouterr().err
    assert "error: the guest boots, and is not resumed as it was saved: another" in said
    assert f"`vmnet snapshot restore {SAVED}`" in said


@pytest.mark.parametrize(
    ("refused", "told", "said"),
    [
        (
            "stop",
            ["stop", "system_reset", "cont"],
            "error: the guest boots, and is not resumed as it was saved: QEMU does not carry out",
        ),
        (
            "snapshot-delete",
            ["stop", "snapshot-load", "cont", "snapshot-delete"],
            "warning: the saved state, which is no longer needed, is not deleted: QEMU does not",
        ),
    ],
)
def test_the_guest_runs_whatever_qemu_refuses(
    tmp_path: Path,
    image: Path,
    capfd: pytest.CaptureFixture[str],
    refused: str,
    told: list[str],
    said: str,
) -> None:
    with running_vm(tmp_path, image, query_block=[TAKEN]) as (_, qemu):
        qemu.refused.add(refused)
        resume.main(str(tmp_path), str(os.getpid()), "10.0.2 ")
    assert changes(qemu.told) == told
    assert said in capfd.readouterr().err


def test_a_start_that_failed_resumes_nothing(tmp_path: Path) -> None:
    resume.main(str(tmp_path), str(os.getpid()), "10.0.2 ")


def prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> list[tuple[str, ...]]:
    """Return what the start ran."""
    ran: list[tuple[str, ...]] = []

    def spawn(argv: tuple[str, ...], _masked: object) -> int:
        ran.append(argv)
        return os.getpid()

    monkeypatch.setattr("vmnet.process.spawn", spawn)
    monkeypatch.setattr("os.killpg", lambda *_: None)
    with ExitStack() as undo:
        start.prepare(tmp_path, command, NICS, undo)
        undo.pop_all()  # the start succeeds
    return ran


def test_a_start_that_fails_leaves_the_record_to_the_next(
    tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vmnet.process.spawn", lambda *_: os.getpid())
    monkeypatch.setattr("os.killpg", lambda *_: None)
    saved_vm.save(tmp_path, record(image))
    with ExitStack() as undo:
        start.prepare(tmp_path, COMMAND, NICS, undo)
        assert not saved_vm.exists(tmp_path)
    assert saved_vm.take(tmp_path) == record(image)


def test_a_start_resumes_only_the_same_machine(
    tmp_path: Path, image: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    saved_vm.save(tmp_path, record(image))
    (argv,) = prepared(tmp_path, monkeypatch, COMMAND)
    assert argv[-3:] == (str(tmp_path), str(os.getpid()), "10.0.2")
    assert not caplog.messages
    assert not prepared(tmp_path, monkeypatch, COMMAND), "each state is resumed once"

    saved_vm.save(tmp_path, record(image))
    assert not prepared(tmp_path, monkeypatch, evolve(COMMAND, argv=("qemu",)))
    (said,) = caplog.records
    assert "not resumed as it was saved: these options of QEMU differ: -S -m" in said.message
    assert "hunter2" not in caplog.text
    assert SAVED in said.__dict__["hint"]

    (tmp_path / "saved.json").write_text("{")
    assert not prepared(tmp_path, monkeypatch, COMMAND)
    assert "the guest boots: can't read" in caplog.messages[1]
    assert not saved_vm.exists(tmp_path)
