"""The values of VMNET_DISK and of the variables for further disks."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmnet.settings import cdrom_values, disk_values
from vmnet.settings.cdrom_values import CdromValue
from vmnet.settings.disk_values import DiskValue

paths = st.text(st.characters(codec="utf-8").filter(str.isprintable), max_size=20)


@pytest.mark.parametrize(
    ("value", "disk"),
    [
        ("/disk.qcow2", DiskValue(Path("/disk.qcow2"))),
        ("/a,,b,bus=sata", DiskValue(Path("/a,b"), bus="sata")),
        (
            "/data.qcow2,bus=SCSI,serial=abc-1,readonly=on,discard=off,boot=2",
            DiskValue(Path("/data.qcow2"), "scsi", "abc-1", readonly=True, discard=False, boot=2),
        ),
        ("/x,cache=none,aio=native", DiskValue(Path("/x"), cache="none", aio="native")),
        ("/x,aio=io_uring", DiskValue(Path("/x"), aio="io_uring")),
        ("/x,iothread=on", DiskValue(Path("/x"), iothread=True)),
    ],
)
def test_a_path_with_options(value: str, disk: DiskValue) -> None:
    assert disk_values.first(value) == disk_values.further(value) == disk


def test_further_disks_have_format_mode_and_size() -> None:
    value = "/x,format=raw,mode=overlay,size=2G"
    expected = DiskValue(Path("/x"), format="raw", mode="overlay", size=2 << 30)
    assert disk_values.further(value) == expected
    with pytest.raises(ValueError, match="without format=: set VMNET_DISK_FORMAT"):
        disk_values.first(value)


@pytest.mark.parametrize(
    ("value", "cdrom"),
    [
        ("/a.iso", CdromValue(Path("/a.iso"), bus="scsi", boot=None)),
        ("/a,,b.iso,bus=sata,boot=1", CdromValue(Path("/a,b.iso"), "sata", 1)),
        ("/a.iso,bus=ide", CdromValue(Path("/a.iso"), "ide")),
    ],
)
def test_a_cd_has_a_bus_and_a_place_in_the_boot_order(value: str, cdrom: CdromValue) -> None:
    assert cdrom_values.cdrom(value) == cdrom


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a.iso", "an absolute path"),
        ("https://192.0.2.1/a.iso", "an absolute path"),
        ("/a.iso,bus=virtio", "a CD whose bus is one of scsi, sata, ide"),
        ("/a.iso,readonly=on", "a CD without readonly=: it has only bus and boot"),
        ("/a.iso,format=raw", "a CD without format=: it has only bus and boot"),
        ("/a.iso,size=1G", "a CD without size=: it has only bus and boot"),
        ("/a.iso,bus", "a CD with a value of bus, such as bus=…"),
        ("/a.iso,bos=sata", "did you mean 'bus'?"),
        ("/a.iso,boot=1,boot=2", "a CD with boot= once"),
    ],
)
def test_other_options_of_a_cd_are_refused(value: str, expected: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        cdrom_values.cdrom(value)
    assert expected in str(caught.value)


@given(paths)
def test_any_path_can_be_written(path: str) -> None:
    value = f"/{path}".replace(",", ",,")
    assert disk_values.first(f"{value},serial=x") == DiskValue(Path(f"/{path}"), serial="x")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("disk,bus=sata", "an absolute path in the container, or a URL of http or https"),
        ("ftp://192.0.2.1/a.img", "an absolute path in the container, or a URL of http or https"),
        ("/disk,bus=usb", "a disk whose bus is one of virtio, scsi, sata, ide, nvme"),
        ("/disk,buss=sata", "did you mean 'bus'?"),
        ("/with,comma", "a comma in the path is written twice"),
        ("/disk,readonly", "a disk with a value of readonly, such as readonly=…"),
        ("/disk,", "a path with the options"),
        ("/disk,bus=sata,bus=ide", "a disk with bus= once"),
        ("/disk,serial=a b", "a disk whose serial is at most 20 letters"),
        ("/disk,serial=" + "x" * 21, "a disk whose serial is at most 20 letters"),
        ("/disk,boot=0", "a disk whose boot is a whole number from 1 to 99"),
        ("/disk,bus=sata,readonly=on", "with readonly=on, bus is virtio or scsi or nvme"),
        ("/disk,bus=scsi,iothread=on", "with iothread=on, bus is virtio"),
        ("/disk,aio=native", "with aio=native, cache is none or directsync"),
        ("/disk,readonly=on,mode=overlay", "readonly=on excludes mode= and size="),
        ("/disk,readonly=on,size=1G", "readonly=on excludes mode= and size="),
    ],
)
def test_nonsense_is_refused(value: str, expected: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        disk_values.further(value)
    assert expected in str(caught.value)
