"""The log of programs that run as long as the VM."""

from __future__ import annotations

import json
import os

from vmnet.supervision.log import Log


def test_the_log_has_the_format_of_vmnet() -> None:
    written = {}
    for form in ("text", "json"):
        reading, writing = os.pipe()
        Log(form, stream=writing).warning("gone", "restart")
        written[form] = os.read(reading, 1000).decode()
        os.close(reading)
        Log(form, stream=writing).warning("lost", "no reader")  # without an error
        os.close(writing)
    assert written["text"] == "vmnet: warning: gone\nvmnet: hint: restart\n"
    entry = json.loads(written["json"])
    assert (entry["level"], entry["message"], entry["hint"]) == ("warning", "gone", "restart")


def test_the_log_names_the_process() -> None:
    reading, writing = os.pipe()
    Log("text", "guard", writing).info("pressed the power button")
    assert os.read(reading, 1000) == b"vmnet: guard: pressed the power button\n"
    os.close(reading)
    os.close(writing)
