"""Places in file systems, from the kernel's list of mounts."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from vmnet.planning.storage.mounts import Mounts, Place

TABLE = r"""22 1 0:50 / / rw - overlay overlay rw
23 22 8:1 /srv/vm /data rw - ext4 /dev/sda1 rw
24 22 8:1 /srv/vm/disk\040one /disk rw - ext4 /dev/sda1 rw
25 23 0:60 / /data/tmp rw - tmpfs tmpfs rw
26 22 8:2 / /data2 rw - ext4 /dev/sda2 rw
27 26 8:3 / /data2 rw - ext4 /dev/sda3 rw
"""


def test_a_place_is_that_of_the_last_and_deepest_mount() -> None:
    mounts = Mounts.parse(TABLE)
    assert mounts.place(Path("/nonexistent/a")) == Place("0:50", PurePosixPath("/nonexistent/a"))
    assert mounts.place(Path("/data/a")) == Place("8:1", PurePosixPath("/srv/vm/a"))
    assert mounts.place(Path("/disk")) == mounts.place(Path("/data/disk one"))
    assert mounts.place(Path("/data/tmp/a")) == Place("0:60", PurePosixPath("/a"))
    assert mounts.place(Path("/data2")) == Place("8:3", PurePosixPath("/"))


def test_a_later_mount_on_a_folder_hides_those_in_it() -> None:
    """The order of the table says nothing: this root is the last."""
    mounts = Mounts.parse(
        "24 22 8:1 / /data/disk rw - ext4 /dev/sda1 rw\n"
        "25 22 8:2 / /data rw - ext4 /dev/sda2 rw\n"
        "22 1 0:50 / / rw - overlay overlay rw\n"
    )
    assert mounts.place(Path("/data/disk/a")) == Place("8:2", PurePosixPath("/disk/a"))


def test_a_root_that_is_no_mount() -> None:
    """After chroot(2) to a folder, the kernel lists only the mounts in it."""
    mounts = Mounts.parse("25 22 8:2 / /nonexistent/data rw - ext4 /dev/sda2 rw\n")
    assert mounts.place(Path("/nonexistent/data/a")) == Place("8:2", PurePosixPath("/a"))
    assert mounts.place(Path("/nonexistent")).path == PurePosixPath("/nonexistent")


def test_a_folder_shows_what_is_mounted_in_it() -> None:
    mounts = Mounts.parse(TABLE)
    assert list(mounts.below(Path("/data"))) == [
        Place("8:1", PurePosixPath("/srv/vm")),
        Place("0:60", PurePosixPath("/")),
    ]


def test_within() -> None:
    place = Place("8:1", PurePosixPath("/a/b"))
    assert place.is_within(place)
    assert place.is_within(Place("8:1", PurePosixPath("/a")))
    assert not place.is_within(Place("8:2", PurePosixPath("/a")))
    assert not Place("8:1", PurePosixPath("/ab")).is_within(Place("8:1", PurePosixPath("/a")))


def test_the_mounts_of_this_process() -> None:
    assert Mounts.read().place(Path("/")).path == PurePosixPath("/")
