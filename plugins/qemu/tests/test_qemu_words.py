"""The real QEMU, asked what it read in our arguments."""

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

from vmnet import testing
from vmnet.machine import Disk, Machine

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40) | st.lists(
    st.sampled_from([",", ",,", "=", "help", "?", "guest=", "debug-threads=on", "on", "'", "\n"]),
    max_size=6,
).map("".join)


def asked(words: Sequence[str], *commands: str) -> list[Any]:
    """What QEMU answers to commands, without a machine."""
    program = ("qemu-system-x86_64", "-machine", "none", "-nodefaults", "-display", "none", "-S")
    said = "".join(json.dumps({"execute": one}) for one in ("qmp_capabilities", *commands, "quit"))
    done = subprocess.run(
        (*program, "-qmp", "stdio", *words),
        input=said,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    return [one["return"] for one in answers if "return" in one][1 : len(commands) + 1]


def option(machine: Machine, name: str) -> tuple[str, str]:
    words = arguments(machine, Options())
    place = words.index(name)
    return words[place], words[place + 1]


@settings(max_examples=20)
@given(TEXTS)
@example("help")
@example("a,,help,=?,process=x,debug-threads=on")
@example("ignore")
@example("0x10")
def test_a_name_is_the_guests(name: str) -> None:
    machine = evolve(testing.machine(), name=name)
    (answer,) = asked(option(machine, "-name"), "query-name")
    assert answer.get("name", "") == name


@settings(max_examples=20)
@given(
    TEXTS.map(lambda text: text.replace("/", "")).filter(lambda text: text not in ("", "..", "."))
)
@example("a,format=qcow2,readonly=on")
@example("json:{}")
@example("nbd:localhost:1")
def test_a_disk_that_qemu_opens_by_name_is_that_file(name: str) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(bytes(512))
        disk = Disk(path, "raw", backed=True)
        machine = evolve(testing.machine(), devices=(disk,))
        (answer,) = asked(option(machine, "-drive"), "query-block")
    assert [one["inserted"]["image"]["filename"] for one in answer] == [str(path)]
