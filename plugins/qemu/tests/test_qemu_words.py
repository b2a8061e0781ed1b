"""How the real QEMU parses vmnet's arguments."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from attrs import evolve
from hypothesis import example, given, settings
from hypothesis import strategies as st
from vmnet_qemu.arguments import Options, arguments
from vmnet_qemu.rows import ROWS

from tests.lab.wait import WAIT
from vmnet import testing
from vmnet.api import Balloon, Cdrom, Channel, Device, Disk, Machine, Nic, Tap

NIC = Nic("net0", "02:42:ac:11:00:02", 1500, Tap("tap0", (100,)))
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40) | st.lists(
    st.sampled_from([",", ",,", "=", "help", "?", "guest=", "debug-threads=on", "on", "'", "\n"]),
    max_size=6,
).map("".join)


def answers(words: Sequence[str], *commands: str, machine: str = "none") -> list[Any]:
    """Return QEMU's answers to QMP commands, by default without a machine."""
    program = ("qemu-system-x86_64", "-machine", machine, "-nodefaults", "-display", "none", "-S")
    session = ("qmp_capabilities", *commands, "quit")
    completed = subprocess.run(
        (*program, "-qmp", "stdio", *words),
        input="".join(json.dumps({"execute": command}) for command in session),
        capture_output=True,
        text=True,
        timeout=WAIT,
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


@pytest.mark.parametrize(
    ("devices", "extra", "environ"),
    [
        ((), (), {}),
        ((), ("-vga", "std"), {}),
        ((), ("-usb", "-device", "usb-tablet"), {"VMNET_VNC": "none"}),
        ((Disk(Path("/dev/zero"), "raw", backed=True),), ("-device", "virtio-balloon-pci"), {}),
        ((Disk(Path("/dev/zero"), "raw", backed=True), Cdrom(Path("/dev/zero"))), (), {}),
        ((Channel("agent", Path("/agent")), Channel("b", Path("/b")), Balloon()), (), {}),
        ((Balloon(),), ("-vga", "std"), {}),
    ],
)
@pytest.mark.parametrize(("kind", "slot"), [("q35", 3), ("pc", 4)])
def test_the_nic_is_always_in_the_same_slot(
    kind: str,
    slot: int,
    devices: tuple[Device, ...],
    extra: tuple[str, ...],
    environ: dict[str, str],
) -> None:
    machine = testing.machine(devices=devices, nics=(NIC,))
    options = Options(testing.settings({"VMNET_MACHINE": kind, **environ}, *ROWS), extra=extra)
    (buses,) = answers(_without_backends(arguments(machine, options)), "query-pci", machine=kind)
    slots = {device["slot"]: device["id"] for device in buses[0]["devices"]}
    ethernet = [
        device["slot"] for device in buses[0]["devices"] if device["class_info"]["class"] == 0x0200
    ]
    assert ethernet == [slot], slots


@pytest.mark.parametrize(("kind", "bus"), [("q35", "sata"), ("pc", "sata"), ("pc", "ide")])
def test_qemu_has_the_places_of_all_disks(kind: str, bus: str) -> None:
    """QEMU exits if a controller lacks a place, or if two disks have the same place."""
    on = (bus, bus, "scsi", "nvme", "virtio", "scsi", "nvme", "virtio", bus, bus)
    disks = tuple(
        Disk(Path("/disk"), "raw", bus=name, serial=f"serial{number}", boot=number + 1)
        for number, name in enumerate(on)
    )
    devices = (Channel("agent", Path("/agent")), Balloon(), *disks, Cdrom(Path("/cd")))
    machine = testing.machine(devices=devices, nics=(NIC,))
    options = Options(testing.settings({"VMNET_MACHINE": kind}, *ROWS))
    words = _without_backends(arguments(machine, options))
    (blocks,) = answers(words, "query-block", machine=kind)
    assert len([block for block in blocks if block.get("inserted")]) == len(disks) + 1


@pytest.mark.parametrize(("kind", "bus"), [("q35", "sata"), ("pc", "sata"), ("pc", "ide")])
def test_qemu_has_the_places_of_cds(kind: str, bus: str) -> None:
    """A CD takes a place after those of the disks, also of disks that follow it."""
    devices = (
        Cdrom(Path("/cd"), bus=bus, boot=1),
        Disk(Path("/disk"), "raw", bus=bus),
        Cdrom(Path("/seed")),
        Disk(Path("/other"), "raw", bus=bus),
    )
    machine = testing.machine(devices=devices, nics=(NIC,))
    options = Options(testing.settings({"VMNET_MACHINE": kind}, *ROWS))
    words = _without_backends(arguments(machine, options))
    (blocks,) = answers(words, "query-block", machine=kind)
    drives = {block["device"]: block["qdev"] for block in blocks if block.get("inserted")}
    assert sorted(drives) == ["cd0", "cd2", "disk1", "disk3"]
    own = [word for word in words if word.startswith("ide-")]
    places = ["bus=ide.1,unit=0", "bus=ide.0,unit=0", "bus=ide.0,unit=1"]
    if bus == "sata":
        sata = "ide" if kind == "q35" else "sata"
        places = [f"bus={sata}.{number}" for number in (2, 0, 1)]
    assert own == [
        f"ide-cd,{places[0]},drive=cd0,bootindex=1",
        f"ide-hd,drive=disk1,{places[1]}",
        f"ide-hd,drive=disk3,{places[2]}",
    ]


@pytest.mark.parametrize("bus", ["virtio", "scsi", "nvme"])
def test_qemu_opens_a_disk_that_the_guest_only_reads(bus: str, tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(bytes(1 << 20))
    path.chmod(0o400)
    machine = testing.machine(devices=(Disk(path, "raw", backed=True, bus=bus, readonly=True),))
    words = arguments(machine, Options(testing.settings({}, *ROWS)))
    chosen = [
        word
        for pair in pairwise(words)
        if pair[0] == "-drive" or (pair[0] == "-device" and pair[1].startswith(_DISKS))
        for word in pair
    ]
    (blocks,) = answers(chosen, "query-block", machine="q35")
    assert [block["inserted"]["ro"] for block in blocks if block.get("inserted")] == [True]


_DISKS = ("virtio-blk", "virtio-scsi", "scsi-hd", "nvme")


def _without_backends(words: Sequence[str]) -> list[str]:
    """Return only the devices, with backends that need no descriptors."""
    chosen: list[str] = []
    pairs = list(zip(words, (*words[1:], ""), strict=True))
    for option, value in pairs:
        if option in ("-device", "-vga"):
            chosen += (option, value)
        elif option == "-netdev":
            chosen += (option, "user,id=net0,restrict=on")
        elif option == "-drive":
            name = value.split("id=")[1].split(",")[0]
            chosen += (option, f"if=none,id={name},driver=null-co,read-zeroes=on,size=1M")
        elif option == "-chardev" and value.startswith("ringbuf"):
            chosen += (option, value)
        elif option == "-chardev" and value.startswith("socket,id=channel"):
            chosen += (option, f"null,id={value.split('id=')[1].split(',')[0]}")
        elif option == "-usb":
            chosen.append(option)
    return chosen
