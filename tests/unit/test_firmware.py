"""The messages of the BIOS: when the guard reads them, and what it logs."""

from __future__ import annotations

import json
from pathlib import Path

from tests.lab.wait import WAIT
from tests.unit.test_guard import connected, machine
from vmnet.supervision.firmware import LOGGED, Firmware

FAILED = "Booting from Hard Disk...\nBoot failed: not a bootable disk\nNo bootable device.\n"


def reads(firmware: Firmware, start: int, end: int) -> list[int]:
    return [second for second in range(start, end) if firmware.must_read(second)]


def test_the_messages_are_read_in_the_first_minutes_after_each_start() -> None:
    firmware = Firmware(100.0)
    assert reads(firmware, 100, 500) == list(range(105, 400, 5))
    firmware.restart(600.0)
    assert reads(firmware, 600, 1000) == list(range(605, 900, 5))


def test_a_failure_ends_the_reading() -> None:
    firmware = Firmware(0.0)
    assert not firmware.failure({"id": "firmware", "return": "Booting from Hard Disk..."})
    assert firmware.must_read(10.0)
    assert firmware.failure({"id": "firmware", "return": FAILED}) == LOGGED
    assert not reads(firmware, 10, 100)


def test_a_debug_build_of_uefi_reports_a_failed_boot() -> None:
    answer = {"id": "firmware", "return": "[Bds] Unable to boot!\nBdsDxe: No bootable option"}
    assert Firmware(0.0).failure(answer) == "UEFI found nothing to boot"


def test_a_machine_without_the_buffer_is_not_asked_again() -> None:
    firmware = Firmware(0.0)
    assert not firmware.is_answer({"error": {"desc": "another command"}})
    assert firmware.must_read(5.0)
    answer = {"id": "firmware", "error": {"class": "GenericError", "desc": "not found"}}
    assert firmware.is_answer(answer)
    assert not firmware.failure(answer)
    assert not reads(firmware, 5, 100)


def test_the_guard_logs_that_there_is_nothing_to_boot(tmp_path: Path) -> None:
    with (
        machine() as process,
        connected(process, tmp_path / "qmp.sock") as (running, theirs, commands),
    ):
        command = json.loads(commands.readline())
        assert command["execute"] == "ringbuf-read"
        answer = {"return": FAILED, "id": command["id"]}
        theirs.sendall(json.dumps(answer).encode() + b"\r\n")
        assert running.stderr is not None
        assert running.stderr.readline() == f"vmnet: error: guard: {LOGGED}\n"
        process.kill()
        process.wait(WAIT)
        assert running.wait(WAIT) == 0
