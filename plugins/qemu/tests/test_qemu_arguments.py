"""QEMU's command line: golden files, the accelerator, slots, commas and descriptors."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st
from vmnet_qemu.arguments import Options, arguments
from vmnet_qemu.inherited import channels, console, opened, qmp, taps
from vmnet_qemu.rows import ROWS

from vmnet import testing
from vmnet.api import (
    Balloon,
    Base,
    Cdrom,
    Channel,
    Daemon,
    Disk,
    Firmware,
    FirmwareVariables,
    Kernel,
    Machine,
    MachineError,
    Nic,
    SharedFolder,
    Stream,
    Tap,
    Tpm,
)
from vmnet.testing import golden

GOLDEN = Path(__file__).with_name("golden")
Case = tuple[Machine, Options]
NIC = Nic("net0", "02:42:ac:11:00:02", 1500, Tap("tap0", (100,)))


def given(*extra: str, **environ: str) -> Options:
    return Options(testing.settings(environ, *ROWS), extra=extra)


def demonstration() -> Case:
    kernel = Kernel(Path("/demo/vmlinuz"), Path("/demo/initrd"), "console=ttyS0 quiet")
    return testing.machine(kernel=kernel, nics=(NIC,)), given()


def disks() -> Case:
    """Disks of each kind, a CD drive, a plugin's seed, and two NICs, the second with two queues."""
    devices = (
        Disk(Path("/disk.qcow2"), "qcow2"),
        Disk(Path("/scratch.img"), "raw", ephemeral=True, cache="none", aio="native"),
        Disk(Path("/state/overlay.qcow2"), "qcow2", base=Base(Path("/shared.vmdk"), "vmdk")),
        Disk(Path("/dev/sdb"), "raw", block=True, guessed=True),
        Disk(Path("/with,comma.qcow2"), "qcow2", backed=True),
        Cdrom(Path("/dev/sr0"), block=True),
        Cdrom(Path("/run/vmnet/seed.iso")),
    )
    nics = (NIC, Nic("net1", "02:42:ac:12:00:02", 9000, Tap("tap1", (101, 102)), vhost=True))
    changes = {"accelerator": "kvm", "cpus": 4, "huge_page": 2 << 20}
    return testing.machine(devices=devices, nics=nics, **changes), given()


def buses() -> Case:
    """Two disks on each bus that q35 has, with all options."""
    path = Path("/disk.img")
    devices = (
        Disk(path, "raw", bus="nvme", boot=1),
        Disk(path, "raw", bus="sata", serial="one", cache="none", aio="native"),
        Disk(path, "raw", bus="scsi", discard=False),
        Disk(path, "raw", serial="two", readonly=True, iothread=True, boot=100),
        Disk(path, "raw", bus="nvme", serial="three", aio="io_uring"),
        Disk(path, "raw", bus="sata"),
        Disk(path, "raw", bus="scsi"),
    )
    return testing.machine(devices=devices), given()


def further() -> Case:
    """Two channels with a disk behind them, a TPM, a shared folder, and a balloon."""
    daemon = Daemon("virtiofsd", ("/usr/libexec/virtiofsd",), Path("/run/vmnet/virtiofsd.pid"))
    devices = (
        Channel("org.qemu.guest_agent.0", Path("/run/vmnet/agent.sock")),
        Disk(Path("/disk.qcow2"), "qcow2"),
        Channel("org.example,1", Path("/run/vmnet/example.sock")),
        Tpm(Path("/run/vm,net/tpm.sock")),
        SharedFolder(Path("/srv/data"), "srv-data", Path("/run/vmnet/virtiofsd.sock"), daemon),
        Balloon(),
    )
    return testing.machine(devices=devices), given()


def options() -> Case:
    """Every QEMU option that a variable sets, a firmware image, and a NIC on a socket."""
    nic = Nic("net0", "02:42:ac:11:00:02", 1500, Stream(Path("/run/vm,net/passt.sock")))
    other = Nic("net1", "02:42:ac:12:00:02", 1500, Tap("tap1", (100,)), model="e1000", boot=0)
    image = Firmware("image", "VMNET_FIRMWARE", Path("/OVMF.fd"))
    return testing.machine(nics=(nic, other), firmware=image), given(
        *("-device", "usb-tablet"),
        VMNET_MACHINE="pc",
        VMNET_CPU="Haswell",
        VMNET_VNC="unix:/tmp/vnc.sock",
    )


def secureboot() -> Case:
    """UEFI firmware with secure boot, and its variables after the files of a disk."""
    variables = FirmwareVariables(Path("/state/variables.fd"), Path("/OVMF/VARS.fd"))
    firmware = Firmware("secureboot", "VMNET_FIRMWARE", Path("/OVMF/CODE.fd"), variables, smm=True)
    devices = (Disk(Path("/disk.qcow2"), "qcow2"),)
    return testing.machine(nics=(NIC,), devices=devices, firmware=firmware), given()


def arm() -> Case:
    """A guest for arm64 with UEFI, a disk on each bus, a TPM, and a NIC for hot-plug."""
    variables = FirmwareVariables(Path("/state/variables.fd"), Path("/AAVMF/VARS.fd"))
    firmware = Firmware("uefi", "the only firmware", Path("/AAVMF/CODE.fd"), variables)
    path = Path("/disk.img")
    buses = ("virtio", "scsi", "sata", "nvme")
    devices = (*(Disk(path, "raw", bus=bus) for bus in buses), Tpm(Path("/run/vmnet/tpm.sock")))
    changes = {"architecture": "aarch64", "spare_nics": 1}
    return testing.machine(nics=(NIC,), devices=devices, firmware=firmware, **changes), given(
        VMNET_VNC="unix:/vnc"
    )


CASES = (demonstration, disks, buses, further, options, secureboot, arm)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_golden(case: Callable[[], Case]) -> None:
    words = arguments(*case())
    text = " ".join(words).replace(" -", "\n-") + "\n"
    assert text == golden(GOLDEN / f"{case.__name__}.argv", text)


@pytest.mark.parametrize(
    "options",
    [
        given("-accel", "tcg,tb-size=1024"),
        given("--accel", "tcg"),
        given("-enable-kvm"),
        given("-machine", "pc,accel=tcg"),
        given("-M", "accel=kvm:tcg"),
        given(VMNET_MACHINE="q35,accel=tcg"),
    ],
)
def test_vmnet_adds_no_accelerator_to_the_users_own(options: Options) -> None:
    """QEMU uses the first that works, and exits if both -accel and -machine name one."""
    words = arguments(testing.machine(accelerator="tcg"), options)
    added = words[: len(words) - len(options.extra)]
    assert "-accel" not in added


@pytest.mark.parametrize("extra", [("-append", "accel"), ("-vga", "std"), ("-machine", "pc")])
def test_with_other_arguments_vmnet_sets_the_accelerator(extra: tuple[str, ...]) -> None:
    assert "-accel" in arguments(testing.machine(accelerator="tcg"), given(*extra))


def nics(count: int) -> tuple[Nic, ...]:
    return tuple(
        Nic(f"net{n}", f"02:42:ac:11:00:{n:02x}", 1500, Tap(f"tap{n}", (100 + n,)))
        for n in range(count)
    )


def places(machine: Machine, options: Options, driver: str) -> list[str]:
    words = arguments(machine, options)
    return [word.partition("addr=")[2] for word in words if word.split(",")[0] == driver]


def key(place: str) -> tuple[int, ...]:
    """Return a slot and function as numbers."""
    slot, _, function = place.partition(".")
    return int(slot, 16), int(function or "0")


@pytest.mark.parametrize("kind", ["q35", "pc", "pc-q35-7.2", "virt"])
def test_nics_are_in_order_and_never_move(kind: str) -> None:
    every = places(testing.machine(nics=nics(64)), given(VMNET_MACHINE=kind), "virtio-net-pci")
    slots = list(map(key, every))
    assert slots == sorted(set(slots))
    assert max(slots) < (0x1A, 0)
    assert slots[0] == ((4 if kind == "pc" else 3), 0)
    for count in (1, 16, 17, 63):
        fewer = testing.machine(nics=nics(count), devices=disks()[0].devices)
        options = given("-vga", "std", VMNET_MACHINE=kind, VMNET_VNC="unix:/vnc")
        assert places(fewer, options, "virtio-net-pci") == every[:count]


@pytest.mark.parametrize(
    ("kind", "architecture", "others"),
    [("q35", "x86_64", 3), ("pc", "x86_64", 3), ("virt", "aarch64", 5)],
)
def test_no_two_devices_share_an_address(kind: str, architecture: str, others: int) -> None:
    disk, cdrom = Disk(Path("/disk"), "raw"), Cdrom(Path("/cd"))
    devices = (disk, cdrom) * 8
    machine = testing.machine(nics=nics(64), devices=devices, architecture=architecture)
    words = arguments(machine, given(VMNET_MACHINE=kind, VMNET_VNC="unix:/vnc"))
    found = [word.partition("addr=")[2] for word in words if "addr=0x" in word]
    assert len(found) == len({key(place) for place in found}) == 64 + 8 + others
    assert max(map(key, found)) < (0x1F, 0), "q35's own devices"


def test_the_display_of_the_user_takes_the_place_of_the_random_number_generator() -> None:
    """QEMU gives it the first free slot before it creates any other device."""
    machine = testing.machine()
    assert places(machine, given(), "virtio-rng-pci") == ["0x1.0"]
    assert places(machine, given("-vga", "std"), "virtio-rng-pci") == ["0x1e.0"]
    assert places(machine, given("-vga", "std", VMNET_VNC="unix:/vnc"), "VGA") == []


def test_more_disks_than_there_are_places_are_refused() -> None:
    devices = (Disk(Path("/disk"), "raw"),) * 9
    with pytest.raises(MachineError, match="the VM has 9 virtio or nvme disks"):
        arguments(testing.machine(devices=devices), given())


@pytest.mark.parametrize(("bus", "most"), [("ide", 4), ("sata", 6), ("nvme", 8)])
def test_each_bus_has_its_own_number_of_places(bus: str, most: int) -> None:
    disks = (Disk(Path("/disk"), "raw", bus=bus),) * (most + 1)
    arguments(testing.machine(devices=disks[1:]), given(VMNET_MACHINE="pc"))
    with pytest.raises(MachineError, match=f"the VM has {most + 1} .*{bus} disks") as caught:
        arguments(testing.machine(devices=disks), given(VMNET_MACHINE="pc"))
    assert "bus=scsi" in caught.value.hint


def test_a_machine_without_ide_refuses_an_ide_disk() -> None:
    machine = testing.machine(devices=(Disk(Path("/disk"), "raw", bus="ide"),))
    with pytest.raises(MachineError, match="machine q35 has no IDE") as caught:
        arguments(machine, given(VMNET_MACHINE="q35"))
    assert "VMNET_MACHINE=pc, or bus=sata" in caught.value.hint


def test_the_balloon_of_the_user_replaces_vmnets() -> None:
    """QEMU exits if there are two."""
    machine = testing.machine(devices=(Balloon(),))
    assert len(places(machine, given(), "virtio-balloon-pci")) == 1
    assert places(
        machine, given("-device", "virtio-balloon-pci,id=mine"), "virtio-balloon-pci"
    ) == [""]


def test_the_topology_of_the_user_replaces_vmnets() -> None:
    """QEMU merges both options, and exits if the product of their numbers is not that of CPUs."""
    machine = testing.machine(cpus=4)
    assert "4,sockets=1,cores=4,threads=1" in arguments(machine, given())
    words = arguments(machine, given("-smp", "4,sockets=2"))
    assert words[words.index("-smp") + 1] == "4"


def test_more_nics_than_there_are_slots_are_refused() -> None:
    with pytest.raises(MachineError, match="65 network interfaces") as caught:
        arguments(testing.machine(nics=nics(65)), given())
    assert "VMNET_INTERFACES" in caught.value.hint


@hypothesis.given(name=st.text(st.characters(exclude_characters="\0"), min_size=1))
def test_any_path_stays_a_single_value(name: str) -> None:
    """QEMU splits options at single commas (qemu-options, QemuOpts)."""
    disk = Disk(Path("/") / name.strip("/"), "qcow2", backed=True)
    words = arguments(testing.machine(devices=(disk,)), given())
    drive = words[words.index("-drive") + 1]
    fields = drive.replace(",,", "\0").split(",")
    keys = [field.partition("=")[0] for field in fields]
    assert keys == ["if", "id", "file", "format", "cache", "discard", "detect-zeroes"]
    assert fields[2].replace("\0", ",") == f"file={disk.path}"


def test_each_file_has_its_own_descriptor_which_is_in_the_arguments() -> None:
    """If a number were used twice, one file would replace another."""
    machine, asked = disks()
    files, words = opened(machine), " ".join(arguments(machine, asked))
    numbers = [*taps(machine), qmp(machine).fd]
    numbers += [file.fd for file in files]
    assert len(set(numbers)) == len(numbers)
    vhost = [file for file in files if file.path == Path("/dev/vhost-net")]
    assert f"vhostfds={':'.join(str(file.fd) for file in vhost)}" in words
    files = tuple(file for file in files if file not in vhost)
    assert all(f"fd={file.fd},set=" in words for file in files)
    writable = {str(file.path) for file in files if file.writable}
    assert writable == {"/disk.qcow2", "/dev/sdb", "/state/overlay.qcow2"}
    assert "/with,comma.qcow2" not in {str(file.path) for file in files}


def test_each_channel_has_its_own_listening_socket() -> None:
    machine, asked = further()
    sockets = channels(machine)
    assert [socket.path.name for socket in sockets] == ["agent.sock", "example.sock"]
    others = [*taps(machine), *(file.fd for file in opened(machine)), console(machine).fd]
    assert len({*others, *(socket.fd for socket in sockets)}) == len(others) + 2
    words = " ".join(arguments(machine, asked))
    assert all(f"fd={socket.fd},server=on" in words for socket in sockets)


@pytest.mark.parametrize(
    ("standard_input", "lasts"), [(subprocess.DEVNULL, True), (subprocess.PIPE, False)]
)
def test_an_input_that_can_end_gets_no_second_console(standard_input: int, lasts: bool) -> None:
    """tests/engine tests a terminal, with a QEMU that has a console hub."""
    program = "from vmnet_qemu import stdin; print(stdin.is_lasting())"
    completed = subprocess.run(
        (sys.executable, "-c", program),
        stdin=standard_input,
        capture_output=True,
        text=True,
        check=True,
    )
    assert completed.stdout.strip() == str(lasts)
