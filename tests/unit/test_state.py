"""Saved state and its copy: loaded in the same network namespace, ignored in any other."""

from __future__ import annotations

import errno
import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from tests.lab.wait import WAIT
from vmnet import testing
from vmnet.errors import StateError
from vmnet.lifecycle import packing, state
from vmnet.model.serial import plain
from vmnet.model.wiring import SavedMessage, Stream, Tap, UserMode, Wiring
from vmnet.net import links, namespace_record

IDENTITY = testing.identity()
WIRING = evolve(testing.wiring(IDENTITY), strategy="bridge")
RESTORERS = {"bridge"}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    state.save(tmp_path, IDENTITY, WIRING)
    return tmp_path


def edit(run_dir: Path, **changed: Any) -> None:
    path = run_dir / "state.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))


def test_saved_state_is_loaded(saved: Path) -> None:
    found = state.load(saved, RESTORERS)
    assert found is not None
    assert (found.identity, found.wiring) == (IDENTITY, WIRING)
    assert found.version == state.VERSION


def test_only_its_owner_can_read_it(saved: Path) -> None:
    assert (saved / "state.json").stat().st_mode & 0o777 == 0o600


def test_no_saved_state(tmp_path: Path) -> None:
    assert state.load(tmp_path, RESTORERS) is None
    assert state.load(tmp_path / "absent", RESTORERS) is None


def test_discarded_state_is_removed(saved: Path) -> None:
    state.discard(saved)
    assert state.load(saved, RESTORERS) is None
    state.discard(saved)
    assert list(saved.iterdir()) == []


def test_another_namespaces_state_is_ignored(saved: Path, namespace_records: list[bytes]) -> None:
    namespace_records.clear()
    edit(saved, namespace="another boot 4026531840")
    assert state.load(saved, RESTORERS) is None


def test_another_versions_state_is_ignored(saved: Path, namespace_records: list[bytes]) -> None:
    namespace_records.clear()
    edit(saved, version=state.VERSION + 1)
    assert state.load(saved, RESTORERS) is None


def test_another_versions_state_may_have_another_structure(
    saved: Path, namespace_records: list[bytes]
) -> None:
    namespace_records.clear()
    edit(saved, version=state.VERSION + 1, uplinks=[])
    assert state.load(saved, RESTORERS) is None


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
        state.load(saved, RESTORERS)
    assert caught.value.message.startswith(f"can't read {path}: ")
    assert f"`rm {path}`" in caught.value.hint
    assert path.read_bytes() == content


def test_a_folder_in_the_files_place(tmp_path: Path) -> None:
    (tmp_path / "state.json").mkdir()
    with pytest.raises(StateError, match="Is a directory"):
        state.load(tmp_path, RESTORERS)


def test_the_copy_in_the_namespace_replaces_a_lost_file(saved: Path) -> None:
    (saved / "state.json").unlink()
    found = state.load(saved, RESTORERS)
    assert found is not None
    assert (found.identity, found.wiring) == (IDENTITY, WIRING)


def test_the_copy_replaces_the_file_of_another_namespace(saved: Path) -> None:
    """A volume of the run directory that outlived an earlier pod."""
    edit(saved, namespace="another boot 4026531840")
    found = state.load(saved, RESTORERS)
    assert found is not None
    assert found.wiring == WIRING


def test_the_file_comes_before_the_copy(saved: Path, namespace_records: list[bytes]) -> None:
    namespace_records[:] = [packed(WIRING, version=state.VERSION, identity=None)]
    found = state.load(saved, RESTORERS)
    assert found is not None
    assert found.identity == IDENTITY


def test_a_discarded_state_has_no_copy(saved: Path, namespace_records: list[bytes]) -> None:
    assert namespace_records
    state.discard(saved)
    assert not namespace_records


def test_the_copy_of_a_running_vm_is_not_restored(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs in another container of the pod, with files of its own."""
    monkeypatch.setattr(links, "exists", lambda name: name == "tap0")
    (saved / "state.json").unlink()
    assert state.load(saved, RESTORERS) is None


def test_a_kernel_without_nftables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPROTONOSUPPORT, "Protocol not supported")

    for name in ("save", "load", "remove"):
        monkeypatch.setattr(namespace_record, name, refuse)
    state.save(tmp_path, IDENTITY, WIRING)
    assert state.load(tmp_path, RESTORERS) is not None
    state.discard(tmp_path)
    assert state.load(tmp_path, RESTORERS) is None
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG]


def test_a_wiring_without_taps_has_no_copy(tmp_path: Path, namespace_records: list[bytes]) -> None:
    """Whether its VM runs could not be found out, and user mode leaves the network as it is."""
    (port,) = WIRING.ports
    stream = evolve(port, backend=Stream(tmp_path / "sock"), path=UserMode("passt"), local=None)
    state.save(tmp_path, IDENTITY, evolve(WIRING, ports=(stream,)))
    assert not namespace_records


def _saved(*messages: tuple[int, str]) -> Wiring:
    (port,) = WIRING.ports
    made = tuple(SavedMessage(*message) for message in messages)
    return evolve(WIRING, ports=(evolve(port, saved=evolve(port.saved, messages=made)),))


def _port(**changed: Any) -> Wiring:
    return evolve(WIRING, ports=(evolve(WIRING.ports[0], **changed),))


# struct rtmsg of a route in the main table, and a multipath attribute whose first hop has length 0.
_ROUTE, _ENDLESS = "0200000004000100" + "00000000", "0c000900" + "00" * 8


@pytest.mark.parametrize(
    ("wiring", "why"),
    [
        (_saved((16, "00" * 16)), "16 is no kind of message"),
        (_saved((24, "02")), "incomplete"),
        (_saved((24, "no hexadecimal")), "hexadecimal"),
        (_saved((24, _ROUTE + _ENDLESS)), "a hop of the route is incomplete"),
        (_saved((104, "02" + "00" * 7)), "lacks the attribute 1"),
        (_saved((20, "02180080" + "01000000" + "06000100" + "0a000000")), "IPv4 or IPv6 address"),
        (
            _saved((20, "0218008001000000" + "18000800" + "ff" * 20)),
            "an attribute that is too long",
        ),
        (_port(uplink="../eth0"), "has the uplink"),
        (_port(backend=Tap("tap/0", (3,))), "cannot be the name of an interface"),
        (_port(backend=Tap("tap0", (0,))), "not from 3 to"),
        (_port(backend=Tap("tap0", (1 << 40,))), "not from 3 to"),
        (evolve(WIRING, strategy="gone"), "there is no strategy 'gone' that could restore it"),
        (_port(backend=Stream(Path("/etc/passwd")), local=None), "a port has no tap"),
        (evolve(WIRING, ports=()), "0 ports for 1 interfaces"),
    ],
)
def test_a_forged_copy_is_ignored(
    tmp_path: Path,
    namespace_records: list[bytes],
    caplog: pytest.LogCaptureFixture,
    wiring: Wiring,
    why: str,
) -> None:
    namespace_records[:] = [packed(wiring)]
    assert state.load(tmp_path, RESTORERS) is None
    assert why in caplog.text


@pytest.mark.parametrize("changed", [{"version": 99}, {"namespace": "another boot 1"}])
def test_the_copy_of_another_version_or_namespace_is_ignored(
    tmp_path: Path, namespace_records: list[bytes], changed: dict[str, Any]
) -> None:
    namespace_records[:] = [packed(WIRING, **changed)]
    assert state.load(tmp_path, RESTORERS) is None


@pytest.mark.parametrize("content", [b"", b"null", b"{}", b"[" * 100_000, b"\xff"])
def test_a_copy_with_other_content_is_ignored(
    tmp_path: Path,
    namespace_records: list[bytes],
    caplog: pytest.LogCaptureFixture,
    content: bytes,
) -> None:
    namespace_records[:] = [packing.pack(content)]
    assert state.load(tmp_path, RESTORERS) is None
    assert "the copy of the saved state in the network namespace is ignored" in caplog.text


def packed(wiring: Wiring, **changed: Any) -> bytes:
    """Return the copy of a state with the wiring, and with other changes."""
    made = state.State(state.VERSION, state._namespace(), IDENTITY, wiring)
    return packing.pack(json.dumps({**plain(made), **changed}).encode())


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
