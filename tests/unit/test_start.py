"""A start: it carries out the plan, or undoes every step."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from attrs import evolve

from tests.lab.wait import WAIT, until
from tests.unit import recorder
from vmnet import pipeline, process
from vmnet.errors import (
    DeliveryError,
    InterruptedStartError,
    LaunchError,
    PluginError,
    PrivilegeError,
    VmnetError,
)
from vmnet.hooks.facade import Hooks
from vmnet.lifecycle import recovery, start, state, stop_signals, vm_record
from vmnet.model.delivery import Daemon, Delivery, File
from vmnet.model.devices import Tpm
from vmnet.model.machine import Command
from vmnet.pipeline import Plan
from vmnet.supervision import signals

pytestmark = pytest.mark.usefixtures("recording")

ALL = ["vmnet_bridge_build", "vmnet_launch", "vmnet_bridge_restore"]


@pytest.fixture
def hooks(tmp_path: Path) -> Hooks:
    return recorder.select(tmp_path)


@pytest.fixture
def plan(hooks: Hooks) -> Plan:
    made = pipeline.plan(hooks)
    recorder.CALLS.clear()
    return made


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    return tmp_path / "run"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def with_daemon(plan: Plan, folder: Path, script: str) -> Plan:
    """Return the plan with a shell script as its daemon."""
    daemon = Daemon("helper", ("/bin/sh", "-c", script), folder / "helper.pid", folder / "log")
    return evolve(plan, deliveries=(Delivery("recorder", daemons=(daemon,)),))


def test_a_launch_that_fails_is_undone(hooks: Hooks, plan: Plan, run_dir: Path) -> None:
    recorder.FAIL_AT.add("vmnet_launch")
    with pytest.raises(LaunchError, match="vmnet_launch is set to fail"):
        start.start(hooks, plan)
    assert recorder.calls() == ALL
    assert names(run_dir) == []


def test_a_launch_that_returns_has_failed(hooks: Hooks, plan: Plan, run_dir: Path) -> None:
    with pytest.raises(LaunchError, match="returned instead of executing"):
        start.start(hooks, plan)
    assert recorder.calls() == ALL
    assert names(run_dir) == []


def test_a_bridge_that_fails_halfway_is_restored(hooks: Hooks, plan: Plan) -> None:
    recorder.FAIL_AT.add("vmnet_bridge_build")
    with pytest.raises(LaunchError, match="vmnet_bridge_build is set to fail"):
        start.start(hooks, plan)
    assert recorder.calls() == ["vmnet_bridge_build", "vmnet_bridge_restore"]


def test_state_and_files_exist_at_the_launch(
    hooks: Hooks, plan: Plan, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    monkeypatch.setattr(Hooks, "launch", lambda hooks, command: seen.extend(names(run_dir)))
    with pytest.raises(LaunchError):
        start.start(hooks, plan)
    seen = [name for name in seen if name != "keeper.pid"]  # the keeper writes it at any time
    assert seen == ["command.json", "recorder.txt", "state.json", "uplinks.json", "vm.json"]


def test_the_state_is_saved_before_the_first_change(
    hooks: Hooks, plan: Plan, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    monkeypatch.setattr(Hooks, "build_bridge", lambda hooks, wiring: seen.extend(names(run_dir)))
    with pytest.raises(LaunchError):
        start.start(hooks, plan)
    assert seen == ["state.json"]


def test_an_unusable_run_directory_fails_before_any_change(
    hooks: Hooks, plan: Plan, run_dir: Path
) -> None:
    run_dir.touch()
    with pytest.raises(VmnetError, match="is not a folder"):
        start.start(hooks, plan)
    assert recorder.calls() == []


def test_a_failed_start_ends_the_daemon(hooks: Hooks, plan: Plan, tmp_path: Path) -> None:
    script = f"sleep 60 & echo $! > {tmp_path}/helper.pid; cp {tmp_path}/helper.pid {tmp_path}/kept"
    with pytest.raises(LaunchError):
        start.start(hooks, with_daemon(plan, tmp_path, script))
    assert not (tmp_path / "helper.pid").exists()
    helper = int((tmp_path / "kept").read_text())
    until(lambda: has_ended(helper), WAIT, "the end of the helper", interval=0.01)


def test_the_daemon_of_a_device_is_kept_alive_and_ends_with_a_failed_start(
    hooks: Hooks, plan: Plan, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = f"sleep 60 & echo $! > {run_dir}/tpm.pid"
    daemon = Daemon("tpm", ("/bin/sh", "-c", script), run_dir / "tpm.pid")
    machine = evolve(plan.machine, devices=(Tpm(run_dir / "tpm.sock", daemon),))
    kept: list[tuple[str, int]] = []

    def launch(hooks: Hooks, command: Command) -> None:
        record = vm_record.load(run_dir)
        assert record is not None
        pids = {helper.name: int(helper.pidfile.read_text()) for helper in record.helpers[:1]}
        kept.extend(pids.items())

    monkeypatch.setattr(Hooks, "launch", launch)
    with pytest.raises(LaunchError):
        start.start(hooks, evolve(plan, machine=machine))
    ((name, pid),) = kept
    assert name == "tpm"
    until(lambda: has_ended(pid), WAIT, "the end of the daemon", interval=0.01)


def has_ended(pid: int) -> bool:
    """Return whether an orphan, which only PID 1 reaps, has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'bad option' >&2; exit 3", "helper ended with status 3: bad option"),
        ("exit 1", "helper ended with status 1: no message"),
        ("kill -9 $$", "helper ended with status -9: no message"),
    ],
)
def test_a_daemon_that_does_not_start(
    script: str, said: str, hooks: Hooks, plan: Plan, tmp_path: Path
) -> None:
    with pytest.raises(DeliveryError) as caught:
        start.start(hooks, with_daemon(plan, tmp_path, script))
    assert (caught.value.message, caught.value.hint) == (said, f"its log is {tmp_path}/log")
    assert recorder.calls() == ["vmnet_bridge_build", "vmnet_bridge_restore"]


def test_a_daemon_that_hangs(
    hooks: Hooks, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_SECONDS", 0.2)
    with pytest.raises(DeliveryError, match="can't start helper: /bin/sh did not finish"):
        start.start(hooks, with_daemon(plan, tmp_path, "exec sleep 60"))
    assert recorder.calls()[-1] == "vmnet_bridge_restore"


def test_a_missing_daemon(hooks: Hooks, plan: Plan, tmp_path: Path) -> None:
    daemon = Daemon("ghost", ("/absent/ghost",), tmp_path / "pid")
    with pytest.raises(DeliveryError, match=r"can't start ghost: .*No such file") as caught:
        start.start(hooks, evolve(plan, deliveries=(Delivery("x", daemons=(daemon,)),)))
    assert "vmnet plan" in caught.value.hint


def test_a_daemon_that_has_ended_does_not_disturb_the_undo(
    hooks: Hooks, plan: Plan, tmp_path: Path
) -> None:
    script = f"cd {tmp_path}; true & echo $! > helper.pid; wait"
    with pytest.raises(LaunchError, match="returned instead of executing"):
        start.start(hooks, with_daemon(plan, tmp_path, script))


@pytest.mark.parametrize("script", ["true", ": > helper.pid", "echo none > helper.pid"])
def test_a_daemon_without_a_process_id(
    script: str, hooks: Hooks, plan: Plan, tmp_path: Path
) -> None:
    with pytest.raises(DeliveryError) as caught:
        start.start(hooks, with_daemon(plan, tmp_path, f"cd {tmp_path}; {script}"))
    assert caught.value.message == (
        f"helper wrote no process ID to {tmp_path}/helper.pid, so vmnet can't supervise it"
    )
    assert recorder.calls()[-1] == "vmnet_bridge_restore"


def test_a_daemon_that_may_end_needs_no_process_id(
    hooks: Hooks, plan: Plan, tmp_path: Path
) -> None:
    (delivery,) = with_daemon(plan, tmp_path, "true").deliveries
    daemons = (evolve(delivery.daemons[0], may_end=True),)
    with pytest.raises(LaunchError):  # the recorder launches nothing
        start.start(hooks, evolve(plan, deliveries=(evolve(delivery, daemons=daemons),)))
    assert "vmnet_launch" in recorder.calls()


def test_a_failed_write_removes_the_files_written_before(
    hooks: Hooks, plan: Plan, tmp_path: Path
) -> None:
    blocked = tmp_path / "blocked"
    blocked.touch()
    written = File(tmp_path / "delivered" / "first", b"1")
    delivery = Delivery("x", files=(written, File(blocked / "second", b"2")))
    with pytest.raises(VmnetError, match=f"can't write {blocked}/second"):
        start.start(hooks, evolve(plan, deliveries=(delivery,)))
    assert not written.path.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_during_the_start_undoes_it(
    number: signal.Signals, hooks: Hooks, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hooks, "launch", lambda hooks, command: os.kill(os.getpid(), number))
    with pytest.raises(InterruptedStartError) as caught:
        start.start(hooks, plan)
    assert caught.value.exit_code == 128 + number
    assert caught.value.message == f"interrupted by {number.name} during the start"
    assert recorder.calls()[-1] == "vmnet_bridge_restore"


def test_a_signal_whose_exception_is_lost_still_ends_the_start(hooks: Hooks, plan: Plan) -> None:
    """Python discards exceptions in some callbacks ("Exception ignored in")."""
    stop_signals.interruptible()
    with suppress(InterruptedStartError):
        os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(InterruptedStartError, match="interrupted by SIGTERM"):
        start.start(hooks, plan)
    assert recorder.calls() == []


def test_a_second_signal_does_not_disturb_the_undo(
    hooks: Hooks, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []

    def restore(hooks: Hooks, wiring: object) -> None:
        steps.append("begun")
        os.kill(os.getpid(), signal.SIGTERM)
        steps.append("done")

    monkeypatch.setattr(Hooks, "restore_bridge", restore)
    with pytest.raises(VmnetError):
        start.start(hooks, plan)
    assert steps == ["begun", "done"]


def test_stop_signals_are_blocked_for_the_guard_which_a_failure_ends(
    hooks: Hooks, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keepers: list[int] = []
    blocked: list[set[int]] = []
    spawn = process.spawn

    def recording_spawn(argv: Sequence[str], masked: Sequence[int]) -> int:
        keepers.append(spawn(argv, masked))
        return keepers[-1]

    monkeypatch.setattr(process, "spawn", recording_spawn)
    monkeypatch.setattr(
        Hooks,
        "launch",
        lambda hooks, command: blocked.append(set(signal.pthread_sigmask(signal.SIG_BLOCK, ()))),
    )
    with pytest.raises(LaunchError):
        start.start(hooks, evolve(plan, command=evolve(plan.command, qmp=tmp_path / "qmp.sock")))
    assert blocked == [set(signals.STOP_SIGNALS)]
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()), "a failure unblocks them"
    (keeper,) = keepers
    _, status = os.waitpid(keeper, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    until(lambda: not _has_processes(keeper), WAIT, "the guard to end with its keeper")


def _has_processes(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("guarded", ["on", "off"])
def test_no_guard_without_a_control_socket_or_with_the_guard_off(
    guarded: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spawned: list[str] = []
    spawn = process.spawn

    def recording_spawn(argv: Sequence[str], masked: Iterable[int]) -> int:
        spawned.extend(argv)
        return spawn(argv, masked)

    monkeypatch.setattr(process, "spawn", recording_spawn)
    hooks = recorder.select(tmp_path, VMNET_GUARD=guarded)
    plan = pipeline.plan(hooks)
    qmp = None if guarded == "on" else tmp_path / "qmp.sock"
    with pytest.raises(LaunchError):
        start.start(hooks, evolve(plan, command=evolve(plan.command, qmp=qmp)))
    assert "watch" in spawned, "the keeper watches the uplinks"
    assert "guard" not in spawned


def test_the_next_start_undoes_a_killed_start(hooks: Hooks, plan: Plan, run_dir: Path) -> None:
    state.save(run_dir, plan.identity, plan.wiring)
    recovery.recover(hooks)
    ((hook, given),) = recorder.CALLS
    assert (hook, given["wiring"]) == ("vmnet_bridge_restore", recorder.WIRING)
    assert state.load(run_dir, hooks.restorers) is None


def test_the_strategy_that_built_the_bridges_restores(tmp_path: Path, plan: Plan) -> None:
    """Another strategy may be selected for the next start of a pod's container."""
    hooks = recorder.select(tmp_path, VMNET_BRIDGE="bridge")
    state.save(tmp_path / "run", plan.identity, plan.wiring)
    recorder.CALLS.clear()
    recovery.recover(hooks)
    assert recorder.calls() == ["vmnet_bridge_restore"]


def test_a_strategy_that_is_no_longer_installed_is_named(hooks: Hooks, run_dir: Path) -> None:
    state.save(run_dir, recorder.IDENTITY, evolve(recorder.WIRING, strategy="gone"))
    with pytest.raises(PluginError, match=r"the bridge strategy gone, .* is not installed"):
        recovery.recover(hooks)
    assert state.load(run_dir, hooks.restorers) is not None


def test_a_failed_recovery_keeps_the_state(hooks: Hooks, plan: Plan, run_dir: Path) -> None:
    state.save(run_dir, plan.identity, plan.wiring)
    recorder.FAIL_AT.add("vmnet_bridge_restore")
    with pytest.raises(LaunchError):
        recovery.recover(hooks)
    assert state.load(run_dir, hooks.restorers) is not None


def test_a_failed_undo_keeps_the_state(hooks: Hooks, plan: Plan, run_dir: Path) -> None:
    recorder.FAIL_AT |= {"vmnet_launch", "vmnet_bridge_restore"}
    with pytest.raises(LaunchError):
        start.start(hooks, plan)
    assert names(run_dir) == ["state.json"]


@pytest.mark.parametrize(("failing", "kept"), [("build_bridge", []), ("launch", ["state.json"])])
def test_a_missing_privilege_means_that_nothing_has_changed_only_if_the_network_lacked_it(
    failing: str,
    kept: list[str],
    hooks: Hooks,
    plan: Plan,
    run_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before the exec, the start may have given up what the undo needs."""

    def refuse(hooks: Hooks, wiring: object) -> None:
        raise PrivilegeError("no permission to remove br0")

    monkeypatch.setattr(Hooks, "restore_bridge", refuse)
    if failing == "build_bridge":
        monkeypatch.setattr(Hooks, failing, refuse)
    with pytest.raises(VmnetError):  # the recorder launches nothing
        start.start(hooks, plan)
    assert names(run_dir) == kept


def test_nothing_to_recover(hooks: Hooks) -> None:
    recorder.CALLS.clear()
    recovery.recover(hooks)
    assert recorder.calls() == []
