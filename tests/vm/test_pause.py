"""The guest's clock is right after each kind of pause, set by the real qemu-guest-agent."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.lab.net.lan import Lan
from tests.lab.net.namespace import Namespace
from tests.lab.wait import WAIT, until
from tests.vm.agent_guest import Inside, settings
from tests.vm.conftest import DemoVm
from vmnet.running import qmp_session

pytestmark = [pytest.mark.vm, pytest.mark.long]

# The guard recognises a frozen container from twice this time on.
_POLL_SECONDS = 5
_SET = "after the pause: it is set"


@contextmanager
def stopped(machine: DemoVm, command: str, arguments: dict[str, str]) -> Iterator[None]:
    """Stop QEMU by its control socket."""
    with qmp_session.session(Path(machine.environ["VMNET_RUN_DIR"], "qmp.sock")) as qemu:
        qemu.ask("stop")
        yield
        qemu.ask(command, arguments)


@contextmanager
def frozen(web: Namespace) -> Iterator[None]:
    """Stop all processes, as an engine's freezer does."""
    pids = web.pids()
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for pid in pids:
            with suppress(ProcessLookupError):  # a program of the keeper, which has ended
                os.kill(pid, number)
        if number == signal.SIGSTOP:
            yield


@contextmanager
def setting(inside: Inside) -> Iterator[None]:
    """Require that the clock is set after what happens in the context, and then is right."""
    before = inside.guest.output().count(_SET)
    yield
    set_again = lambda: inside.guest.output().count(_SET) > before  # noqa: E731
    until(set_again, WAIT, "the clock to be set", detail=inside.guest.output)
    inside.await_clock()


def test_the_clock_is_right_after_a_pause(network: Lan, machine: DemoVm, tmp_path: Path) -> None:
    web = network.container("web")
    with machine.booted(web, **settings(machine, tmp_path)) as guest:
        inside = Inside(guest, machine)
        guest.says(f"vmnet-guest: eth0 {web.address}/24")
        inside.await_agent()
        resumed = stopped(machine, "human-monitor-command", {"command-line": "cont"})
        with setting(inside), resumed:
            time.sleep(_POLL_SECONDS)  # the guest's clock stands still

        inside.shell("date -s @1000000000")
        with setting(inside), frozen(web):
            time.sleep(2 * _POLL_SECONDS + 1)
