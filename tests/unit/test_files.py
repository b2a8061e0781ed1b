"""Atomic writes, and reads of trusted files."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from vmnet.errors import StateError
from vmnet.lifecycle import files


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_missing_folders_are_created(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    files.write(path, b"content\0")
    assert path.read_bytes() == b"content\0"


@pytest.mark.parametrize("wanted", [0o600, 0o644, 0o400, 0o666])
@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_the_umask_does_not_change_the_mode(wanted: int, umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        files.write(tmp_path / "file", b"", wanted)
    finally:
        os.umask(before)
    assert mode(tmp_path / "file") == wanted


def test_the_default_mode_is_private(tmp_path: Path) -> None:
    files.write(tmp_path / "file", b"")
    assert mode(tmp_path / "file") == 0o600


def test_a_file_is_replaced_without_leftovers(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.write(path, b"a longer first content", 0o644)
    with path.open("rb") as reader:
        files.write(path, b"second", 0o600)
        assert reader.read() == b"a longer first content", "a reader keeps the old content"
    assert path.read_bytes() == b"second"
    assert mode(path) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_failed_write_leaves_the_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    files.write(path, b"old")

    def full(_fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StateError) as caught:
        files.write(path, b"new", durable=True)
    assert path.read_bytes() == b"old"
    assert caught.value.message == f"can't write {path}: No space left on device"
    assert caught.value.hint == (
        "VMNET_RUN_DIR names the folder; with --read-only add `--tmpfs /run`"
    )


def test_a_durable_file_is_synced_before_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    rename = Path.rename

    def recorded(path: Path, to: Path) -> Path:
        order.append("rename")
        return rename(path, to)

    monkeypatch.setattr(os, "fsync", lambda fd: order.append("fsync"))
    monkeypatch.setattr(Path, "rename", recorded)
    files.write(tmp_path / "plain", b"x")
    files.write(tmp_path / "durable", b"x", durable=True)
    assert order == ["rename", "fsync", "rename"]


@pytest.mark.parametrize(
    ("below", "said"),
    [("file/x", "File exists"), ("file/a/x", "Not a directory"), ("folder", "Is a directory")],
)
def test_a_path_that_can_t_be_written(below: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder" / "full").mkdir(parents=True)
    with pytest.raises(StateError, match=f"can't write {tmp_path / below}: {said}"):
        files.write(tmp_path / below, b"")


def test_no_link_is_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"secret")
    victim.chmod(0o600)
    for name in ("file", ".file.new"):
        (tmp_path / name).symlink_to(victim)
    files.write(tmp_path / "file", b"ours", 0o644)
    assert (victim.read_bytes(), mode(victim)) == (b"secret", 0o600)
    assert (tmp_path / "file").read_bytes() == b"ours"
    assert not (tmp_path / "file").is_symlink()


def test_the_temporary_file_of_a_killed_start_is_replaced(tmp_path: Path) -> None:
    (tmp_path / ".file.new").write_bytes(b"half of")
    files.write(tmp_path / "file", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_only_a_regular_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"ours")
    (tmp_path / "link").symlink_to("file")
    assert files.read(tmp_path / "file") == b"ours"
    with pytest.raises(OSError, match="symbolic links"):
        files.read(tmp_path / "link")
    with pytest.raises(FileNotFoundError):
        files.read(tmp_path / "absent")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="or it is not a regular file"):
        files.read(tmp_path / "pipe")
