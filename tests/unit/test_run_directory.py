"""The run directory: only root can change it, or vmnet refuses it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from vmnet.errors import StateError
from vmnet.lifecycle import run_directory


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_it_is_created_with_its_parents(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "a" / "b" / "run"
    before = os.umask(umask)
    try:
        run_directory.make(path)
    finally:
        os.umask(before)
    assert {mode(folder) for folder in (path, path.parent, path.parent.parent)} == {0o755 & ~umask}


def test_the_check_creates_nothing(tmp_path: Path) -> None:
    run_directory.require(tmp_path / "a" / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("above", [0o777, 0o775, 0o757])
def test_a_parent_that_other_users_can_write(tmp_path: Path, above: int) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(above)
    with pytest.raises(
        StateError,
        match=rf"other users can write to .*/open .user \d+, mode 0{above:o}., and replace",
    ):
        run_directory.make(tmp_path / "open" / "a" / "run")
    assert list((tmp_path / "open").iterdir()) == []


@pytest.mark.parametrize("below", ["", "run"])
def test_a_file_on_the_way(below: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match=r"/file is not a folder$"):
        run_directory.require(tmp_path / "file" / below)


def test_a_sticky_parent(tmp_path: Path) -> None:
    """Like /tmp: other users can create folders there, but not move ours."""
    (tmp_path / "sticky").mkdir()
    (tmp_path / "sticky").chmod(0o1777)
    run_directory.make(tmp_path / "sticky" / "run")


def test_links_on_the_way_are_followed_and_their_targets_checked(
    tmp_path: Path,
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "absolute").symlink_to(tmp_path / "real")
    (tmp_path / "relative").symlink_to("real/../real")
    for name in ("absolute", "relative"):
        run_directory.make(tmp_path / name / "run")
    (tmp_path / "real").chmod(0o777)
    for name in ("absolute", "relative"):
        with pytest.raises(StateError, match=r"other users can write to .*/real "):
            run_directory.make(tmp_path / name / "run")


def test_links_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(StateError, match="too many symbolic links"):
        run_directory.make(tmp_path / "a" / "run")


@pytest.mark.parametrize("before", [0o777, 0o1777, 0o2777, 0o770])
def test_our_own_open_folder_is_closed(tmp_path: Path, before: int) -> None:
    """Like an emptyDir of Kubernetes, also with fsGroup, and like a sticky tmpfs."""
    path = tmp_path / "run"
    path.mkdir()
    (path / "state.json").touch()
    path.chmod(before)
    run_directory.make(path)
    assert mode(path) == 0o755


@pytest.mark.parametrize("name", ["/tmp", "/var/tmp", "/dev/shm"])
def test_a_shared_folder_is_not_closed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_directory, "_close", lambda path: pytest.fail(f"{path} is closed"))
    (tmp_path / "link").symlink_to(name)
    for path in (Path(name), tmp_path / "link"):
        with pytest.raises(StateError, match=rf"^{name} is shared by all programs"):
            run_directory.require(path)


def _hard_link(place: Path, victim: Path) -> None:
    place.hardlink_to(victim)


def _symbolic_link(place: Path, victim: Path) -> None:
    place.symlink_to(victim)


@pytest.mark.parametrize("plant", [_hard_link, _symbolic_link])
def test_a_link_in_an_open_folder(tmp_path: Path, plant: Callable[[Path, Path], None]) -> None:
    path, victim = tmp_path / "run", tmp_path / "victim"
    path.mkdir()
    victim.touch()
    plant(path / "dnsmasq.log", victim)
    path.chmod(0o777)
    with pytest.raises(StateError, match=r"could write to .*, and it contains .*/dnsmasq.log "):
        run_directory.make(path)
