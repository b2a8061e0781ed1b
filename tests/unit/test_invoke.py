"""Plugins that hang, exit, print or close the wrong descriptor: errors name the plugin."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.lab.wait import WAIT
from tests.unit import fakes
from vmnet import testing
from vmnet.errors import AllocationError, PluginError
from vmnet.hooks import invoke, loading
from vmnet.hooks.discovery import Plugin
from vmnet.model.machine import Command

PLUGIN = Plugin("slow", "vmnet_slow", "vmnet-slow", "2.1")
FAULT = "failed in vmnet_devices"
SHORT = 0.05
AMPLE = 60.0
OPEN = Path("/proc/self/fd")


def ends_with(function: Callable[[], Any], seconds: float = AMPLE) -> PluginError:
    with pytest.raises(PluginError) as caught:
        invoke.call(PLUGIN, FAULT, function, seconds)
    return caught.value


def spin() -> None:
    while True:
        pass


def retry_for_ever() -> None:
    while True:
        with suppress(Exception):
            time.sleep(1000)


def swallow_once() -> None:
    try:
        time.sleep(1000)
    except BaseException:
        time.sleep(1000)


def await_a_lock() -> None:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()


def await_a_pipe() -> None:
    reading, _writing = os.pipe()
    os.read(reading, 1)


@pytest.mark.parametrize(
    "blocking", [spin, retry_for_ever, swallow_once, await_a_lock, await_a_pipe]
)
def test_code_that_hangs_is_interrupted(blocking: Callable[[], None]) -> None:
    error = ends_with(blocking, SHORT)
    assert error.message == (
        "plugin slow (vmnet-slow 2.1) failed in vmnet_devices: it did not return within 0.05 s"
    )
    assert "VMNET_HOOK_TIMEOUT" in error.hint
    assert isinstance(error.__cause__, invoke.OverdueError), "debug shows where it was"


def test_timer_and_handler_are_restored() -> None:
    before = signal.getsignal(signal.SIGALRM)
    assert invoke.call(PLUGIN, FAULT, lambda: 7, AMPLE) == 7
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    ends_with(spin, SHORT)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) is before


def test_a_stop_signal_interrupts_a_hook() -> None:
    """The handler raises, as in a start, and the timer is stopped."""

    class StoppedError(AllocationError):
        pass

    def stop(_number: int, _frame: object) -> None:
        raise StoppedError("stopped")

    before = signal.signal(signal.SIGTERM, stop)
    try:
        with pytest.raises(StoppedError):
            invoke.call(PLUGIN, FAULT, lambda: os.kill(os.getpid(), signal.SIGTERM), AMPLE)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_a_plugin_that_exits() -> None:
    error = ends_with(lambda: sys.exit(0))
    assert error.message == "plugin slow (vmnet-slow 2.1) failed in vmnet_devices: SystemExit: 0"


def test_a_plugin_that_ends_the_process() -> None:
    """Exit status 0 would mean that the guest powered off."""
    message = ends_with(lambda: os._exit(0)).message
    assert message == f"plugin {PLUGIN} {FAULT}: SystemExit: os._exit(0)"


def test_a_child_of_a_plugin_may_end() -> None:
    def fork() -> int:
        if (child := os.fork()) == 0:
            os._exit(7)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    before = os._exit
    assert invoke.call(PLUGIN, FAULT, fork, AMPLE) == 7
    assert os._exit is before


def test_ctrl_c_is_not_attributed_to_the_plugin() -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        invoke.call(PLUGIN, FAULT, interrupted, AMPLE)


def test_output_of_a_plugin_is_logged_with_its_name(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    def talk() -> None:
        print("one", end="")
        print(" line")
        print("and no end", end="")

    with caplog.at_level(logging.WARNING):
        invoke.call(PLUGIN, FAULT, talk, AMPLE)
    assert caplog.messages == [
        "plugin slow (vmnet-slow 2.1) printed: one line",
        "plugin slow (vmnet-slow 2.1) printed: and no end",
    ]
    assert capsys.readouterr().out == "", "stdout belongs to the command"
    print("ours")
    assert capsys.readouterr().out == "ours\n"


@pytest.mark.parametrize("fd", [0, 1, 2])
def test_a_standard_stream_that_a_plugin_closes_is_reopened(fd: int) -> None:
    program = (
        "import os, sys; from vmnet.hooks import invoke; from vmnet.hooks.discovery import Plugin\n"
        "from vmnet.errors import PluginError\n"
        f"try: invoke.call(Plugin('a', 'b', 'c', '1'), 'x', lambda: os.close({fd}), 60)\n"
        "except PluginError as error: print(error); print(error, file=sys.stderr)\n"
        f"os.fstat({fd})"
    )
    done = subprocess.run(
        (sys.executable, "-c", program), capture_output=True, text=True, timeout=WAIT, check=True
    )
    expected = f"plugin a (c 1) closed file descriptor {fd}, which it did not open\n"
    assert (done.stdout, done.stderr) == (expected, expected)


def test_no_descriptor_stays_open() -> None:
    before = sorted(OPEN.iterdir())
    invoke.call(PLUGIN, FAULT, lambda: None, AMPLE)
    assert sorted(OPEN.iterdir()) == before


def test_every_hook_except_the_last_has_a_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interval timer survives an exec, and would end the hypervisor."""
    timers = []

    def record() -> None:
        timers.append(signal.getitimer(signal.ITIMER_REAL)[0])

    stages = fakes.stages(
        monkeypatch,
        vmnet_launch=lambda settings, command: record(),
        vmnet_ipam_release=lambda settings, identity: record(),
    )
    stages.release("fake", testing.identity())
    stages.launch(Command(("/bin/true",)))
    assert 0 < timers[0] <= 60
    assert timers[1] == 0


def test_a_module_that_hangs_at_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "vmnet_slow.py").write_text("import time\ntime.sleep(1000)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PluginError) as caught:
        loading.load([PLUGIN], SHORT)
    assert caught.value.message == (
        "plugin slow (vmnet-slow 2.1) can't be imported: it did not return within 0.05 s"
    )
    assert "pip uninstall vmnet-slow" in caught.value.hint
