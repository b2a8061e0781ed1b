"""Allocations by other systems: recorded before the request, and always released."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from attrs import evolve

from tests.lab.wait import WAIT
from tests.unit import interpreter, recorder
from vmnet import testing
from vmnet.cli import run
from vmnet.errors import AllocationError, LaunchError, StateError
from vmnet.hooks.facade import Hooks
from vmnet.lifecycle import allocation, recovery, state, supervisor
from vmnet.model.identity import Identity, Router
from vmnet.net import router

pytestmark = pytest.mark.usefixtures("recording")


@pytest.fixture
def hooks(tmp_path: Path) -> Hooks:
    made = recorder.select(tmp_path)
    recorder.CALLS.clear()
    return made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return state.allocations_path(tmp_path / "run")


def on_record(path: Path) -> list[str]:
    return [entry["strategy"] for entry in json.loads(path.read_text())["allocations"]]


def test_each_strategy_gets_the_result_of_the_previous(hooks: Hooks) -> None:
    assert allocation.allocate(hooks, recorder.IDENTITY) == recorder.ALLOCATED
    assert [(hook, given["identity"]) for hook, given in recorder.CALLS] == [
        ("vmnet_ipam_allocate", recorder.IDENTITY),
        ("second: vmnet_ipam_allocate", recorder.ALLOCATED),
    ]


def test_the_record_is_written_before_each_request(
    hooks: Hooks, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []

    def allocate(hooks: Hooks, name: str, identity: Identity) -> Identity:
        seen.append(on_record(path))
        return identity

    monkeypatch.setattr(Hooks, "allocate", allocate)
    allocation.allocate(hooks, recorder.IDENTITY)
    assert seen == [["recorder"], ["recorder", "second"]]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_release_is_newest_first_with_the_same_arguments(hooks: Hooks, path: Path) -> None:
    allocation.allocate(hooks, recorder.IDENTITY)
    recorder.CALLS.clear()
    recovery.recover(hooks)
    assert [(hook, given["identity"]) for hook, given in recorder.CALLS] == [
        ("second: vmnet_ipam_release", recorder.ALLOCATED),
        ("vmnet_ipam_release", recorder.IDENTITY),
    ]
    assert not path.exists()


def test_the_network_is_restored_before_the_release(hooks: Hooks, tmp_path: Path) -> None:
    allocation.allocate(hooks, recorder.IDENTITY)
    state.save(tmp_path / "run", recorder.IDENTITY, recorder.WIRING)
    recorder.CALLS.clear()
    recovery.recover(hooks)
    assert recorder.calls()[0] == "vmnet_bridge_restore"


def test_a_failed_allocation_is_released_too(hooks: Hooks) -> None:
    recorder.FAIL_AT.add("second: vmnet_ipam_allocate")
    with pytest.raises(LaunchError, match="second: vmnet_ipam_allocate is set to fail"):
        allocation.allocate(hooks, recorder.IDENTITY)
    recorder.CALLS.clear()
    recovery.recover(hooks)
    assert recorder.calls() == ["second: vmnet_ipam_release", "vmnet_ipam_release"]


def test_a_failed_release_stays_on_record(hooks: Hooks, path: Path) -> None:
    allocation.allocate(hooks, recorder.IDENTITY)
    recorder.FAIL_AT.add("vmnet_ipam_release")
    with pytest.raises(AllocationError) as caught:
        recovery.recover(hooks)
    assert caught.value.message == "not released: what recorder may have allocated"
    assert f"`rm {path}`" in caught.value.hint
    assert on_record(path) == ["recorder"]
    recorder.FAIL_AT.clear()
    recorder.CALLS.clear()
    recovery.recover(hooks)
    assert recorder.calls() == ["vmnet_ipam_release"]
    assert not path.exists()


def test_a_strategy_that_is_no_longer_selected_releases_too(hooks: Hooks, tmp_path: Path) -> None:
    allocation.allocate(hooks, recorder.IDENTITY)
    later = recorder.select(tmp_path, VMNET_IPAM="nodhcp")
    recorder.CALLS.clear()
    recovery.recover(later)
    assert recorder.calls() == ["second: vmnet_ipam_release", "vmnet_ipam_release"]


def test_the_allocation_of_an_uninstalled_strategy_stays_on_record(
    hooks: Hooks, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    allocation.allocate(hooks, recorder.IDENTITY)
    path.write_text(path.read_text().replace('"second"', '"gone"'))
    with pytest.raises(AllocationError, match="not released: what gone may have allocated"):
        recovery.recover(hooks)
    assert "the plugin gone is no longer installed" in caplog.text
    assert on_record(path) == ["gone"]


@pytest.mark.parametrize("content", ["", "{", "{}", '{"version": 2, "allocations": []}'])
def test_an_unreadable_record_is_left_unchanged(content: str, hooks: Hooks, path: Path) -> None:
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(StateError) as caught:
        recovery.recover(hooks)
    assert caught.value.message.startswith(f"can't read {path}: ")
    assert f"`rm {path}`" in caught.value.hint
    assert path.read_text() == content


def test_a_new_ipv6_gateway_is_asked_for_its_link_local_address(
    hooks: Hooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    nic = testing.interface("2001:db8::7/64", gateway="2001:db8::1")
    found = Router(nic.routes[0].gateway, mac="02:00:00:00:00:01")  # type: ignore[arg-type]
    monkeypatch.setattr(router, "find", lambda interface: found)
    monkeypatch.setattr(Hooks, "allocate", lambda hooks, name, identity: testing.identity(nic))
    assert allocation.allocate(hooks, recorder.IDENTITY).interfaces[0].router == found
    known = evolve(nic, router=evolve(found, mac="02:00:00:00:00:02"))
    monkeypatch.setattr(Hooks, "allocate", lambda hooks, name, identity: testing.identity(known))
    assert allocation.allocate(hooks, recorder.IDENTITY).interfaces[0] == known


def test_a_start_without_allocation_does_not_import_it() -> None:
    program = "import sys\nfrom vmnet.cli import run\nprint(*sys.modules)"
    imported = set(interpreter.run(program).split())
    assert not {"vmnet.lifecycle.allocation", "vmnet.lifecycle.supervisor"} & imported


@pytest.mark.parametrize("status", [0, 17, 143])
def test_the_parent_releases_and_returns_the_status_of_the_child(
    status: int, hooks: Hooks, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended() -> int:
        allocation.allocate(hooks, recorder.IDENTITY)  # as the child does
        return status

    monkeypatch.setattr(supervisor, "fork", ended)
    monkeypatch.setattr("vmnet.pipeline.select", lambda environ: hooks)
    assert run.become_machine((), {}) == status
    assert recorder.calls()[2:] == ["second: vmnet_ipam_release", "vmnet_ipam_release"]
    assert not path.exists()


def supervised(script: str) -> subprocess.Popen[str]:
    """Start a supervisor with a shell as its child, and with a thread as of a plugin."""
    program = (
        "import os, sys, threading, time\nfrom vmnet.lifecycle import supervisor\n"
        "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
        "status = supervisor.fork()\n"
        f"if status is None: os.execv('/bin/sh', ('sh', '-c', {script!r}))\n"
        "print('ended', flush=True)\n"
        "sys.exit(status)"
    )
    argv: Sequence[str] = (sys.executable, "-c", program)
    return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("script", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -15 $$", 143)]
)
def test_a_child_s_status_is_passed_on(script: str, status: int) -> None:
    with supervised(script) as process:
        assert process.communicate(timeout=WAIT)[0] == "ended\n"
    assert process.returncode == status


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPWR])
def test_a_signal_reaches_the_child_and_not_the_parent(number: signal.Signals) -> None:
    name = number.name.removeprefix("SIG")
    with supervised(
        f"trap 'echo got {name}; exit 5' {name}; echo up; while :; do sleep 0.1; done"
    ) as it:
        assert it.stdout is not None
        assert it.stdout.readline() == "up\n"
        os.kill(it.pid, number)
        assert it.communicate(timeout=WAIT)[0] == f"got {name}\nended\n"
    assert it.returncode == 5


def test_a_start_that_swallows_a_stop_signal_is_killed(tmp_path: Path) -> None:
    """A plugin's hook may catch the exception and go on for ever."""
    program = (
        "import os, signal, sys, time\nfrom vmnet.lifecycle import supervisor\n"
        "supervisor.START_SECONDS = 0.2\n"
        "has_executed, (arrived, swallowed) = supervisor._has_executed, os.pipe()\n"
        # A busy machine may not have run the child's handler before.
        "def look(*given): os.read(arrived, 1); return has_executed(*given)\n"
        "def swallow(*_): print('swallowed', flush=True); os.write(swallowed, b'!')\n"
        "supervisor._has_executed = look\n"
        "status = supervisor.fork()\n"
        "if status is None:\n"
        "    signal.signal(signal.SIGTERM, swallow)\n"
        "    print('up', flush=True)\n"
        "    while True: time.sleep(1)\n"
        "print('ended', flush=True)\n"
        "sys.exit(status)"
    )
    argv = (sys.executable, "-c", program)
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as it:
        assert it.stdout is not None
        assert it.stdout.readline() == "up\n"
        it.terminate()
        output, log = it.communicate(timeout=WAIT)
    assert output == "swallowed\nended\n"
    assert "the start ignores the stop signal" in log
    assert it.returncode == 137


def test_a_hypervisor_that_ignores_a_stop_signal_is_not_killed() -> None:
    """The guard handles the signal, and its deadline may be an hour away."""
    hypervisor = (
        "import signal\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "signal.signal(signal.SIGUSR1, lambda *_: print('usr1', flush=True))\n"
        "print('up', flush=True)\n"
        "print(input())"
    )
    program = (
        "import os, sys\nfrom vmnet.lifecycle import supervisor\n"
        "supervisor.START_SECONDS = 0.0\n"
        "status = supervisor.fork()\n"
        f"if status is None: os.execv(sys.executable, (sys.executable, '-c', {hypervisor!r}))\n"
        "sys.exit(status)"
    )
    argv = (sys.executable, "-c", program)
    pipe = subprocess.PIPE
    with subprocess.Popen(argv, stdin=pipe, stdout=pipe, text=True) as it:
        assert it.stdout is not None
        assert it.stdout.readline() == "up\n"
        it.terminate()
        for _ in range(2):  # the supervisor has checked the child before it forwards the second
            it.send_signal(signal.SIGUSR1)
            assert it.stdout.readline() == "usr1\n"
        assert it.communicate("on\n", timeout=WAIT)[0] == "on\n"
    assert it.returncode == 0
