"""Saved state: loaded in the same network namespace, ignored in any other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.lab.wait import WAIT
from vmnet import testing
from vmnet.errors import StateError
from vmnet.lifecycle import state

IDENTITY = testing.identity()
WIRING = testing.wiring(IDENTITY)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    state.save(tmp_path, IDENTITY, WIRING)
    return tmp_path


def edit(run_dir: Path, **changed: Any) -> None:
    path = run_dir / "state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))


def test_saved_state_is_loaded(saved: Path) -> None:
    found = state.load(saved)
    assert found is not None
    assert (found.identity, found.wiring) == (IDENTITY, WIRING)
    assert found.version == state.VERSION


def test_only_its_owner_can_read_it(saved: Path) -> None:
    assert (saved / "state.json").stat().st_mode & 0o777 == 0o600


def test_no_saved_state(tmp_path: Path) -> None:
    assert state.load(tmp_path) is None
    assert state.load(tmp_path / "absent") is None


def test_discarded_state_is_removed(saved: Path) -> None:
    state.discard(saved)
    assert state.load(saved) is None
    state.discard(saved)
    assert list(saved.iterdir()) == []


def test_another_namespaces_state_is_ignored(saved: Path) -> None:
    edit(saved, namespace="another boot 4026531840")
    assert state.load(saved) is None


def test_another_versions_state_is_ignored(saved: Path) -> None:
    edit(saved, version=state.VERSION + 1)
    assert state.load(saved) is None


def test_another_versions_state_may_have_another_structure(saved: Path) -> None:
    edit(saved, version=state.VERSION + 1, uplinks=[])
    assert state.load(saved) is None


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"{}", b"\xff\xfe", b"null"),
    ],
)
def test_a_corrupt_file_is_refused_and_left_unchanged(content: bytes, saved: Path) -> None:
    path = saved / "state.json"
    path.write_bytes(content)
    with pytest.raises(StateError) as caught:
        state.load(saved)
    assert caught.value.message.startswith(f"can't read {path}: ")
    assert f"`rm {path}`" in caught.value.hint
    assert path.read_bytes() == content


def test_a_folder_in_the_files_place(tmp_path: Path) -> None:
    (tmp_path / "state.json").mkdir()
    with pytest.raises(StateError, match="Is a directory"):
        state.load(tmp_path)


SAVE = """
import json, os, sys
from pathlib import Path
from vmnet import testing
from vmnet.lifecycle import state
run_dir, identity = Path(sys.argv[1]), testing.identity()
state.save(run_dir, identity, testing.wiring(identity))
saved = json.loads((run_dir / "state.json").read_text())["namespace"]
print(saved.replace(str(os.stat("/proc/self/ns/net").st_ino), ""))
"""


def saved_in_a_new_namespace(run_dir: Path) -> str:
    """Save state in a new namespace, and return its identifier without the inode number."""
    argv = ("unshare", "--net", sys.executable, "-c", SAVE, str(run_dir))
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=WAIT).stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to create network namespaces")
def test_a_reused_inode_number_is_another_namespace(tmp_path: Path) -> None:
    assert saved_in_a_new_namespace(tmp_path) != saved_in_a_new_namespace(tmp_path)
