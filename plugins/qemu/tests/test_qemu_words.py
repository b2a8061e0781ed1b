"""How the real QEMU parses vmnet's arguments."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from attrs import evolve
from hypothesis import example, given, settings
from hypothesis import strategies as st
from vmnet_qemu.arguments import Options, arguments
from vmnet_qemu.rows import ROWS

from vmnet import testing
from vmnet.api import Disk, Machine

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40) | st.lists(
    st.sampled_from([",", ",,", "=", "help", "?", "guest=", "debug-threads=on", "on", "'", "\n"]),
    max_size=6,
).map("".join)


def answers(words: Sequence[str], *commands: str) -> list[Any]:
    """Return QEMU's answers to QMP commands, without a machine."""
    program = ("qemu-system-x86_64", "-machine", "none", "-nodefaults", "-display", "none", "-S")
    session = ("qmp_capabilities", *commands, "quit")
    completed = subprocess.run(
        (*program, "-qmp", "stdio", *words),
        input="".join(json.dumps({"execute": command}) for command in session),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    messages = [json.loads(line) for line in completed.stdout.splitlines()]
    return [message["return"] for message in messages if "return" in message][1 : len(commands) + 1]


def option(machine: Machine, name: str) -> tuple[str, str]:
    words = arguments(machine, Options(testing.settings({}, *ROWS)))
    place = words.index(name)
    return words[place], words[place + 1]


@settings(max_examples=20)
@given(TEXTS)
@example("help")
@example("a,,help,=?,process=x,debug-threads=on")
@example("ignore")
@example("0x10")
def test_qemu_takes_any_name_as_it_is(name: str) -> None:
    machine = evolve(testing.machine(), name=name)
    (answer,) = answers(option(machine, "-name"), "query-name")
    assert answer.get("name", "") == name


@settings(max_examples=20)
@given(
    TEXTS.map(lambda text: text.replace("/", "")).filter(lambda text: text not in ("", "..", "."))
)
@example("a,format=qcow2,readonly=on")
@example("json:{}")
@example("nbd:localhost:1")
def test_qemu_opens_the_named_file(name: str) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(bytes(512))
        disk = Disk(path, "raw", backed=True)
        machine = evolve(testing.machine(), devices=(disk,))
        (devices,) = answers(option(machine, "-drive"), "query-block")
    assert [device["inserted"]["image"]["filename"] for device in devices] == [str(path)]
