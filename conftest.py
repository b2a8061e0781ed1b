"""Options and settings of all tests."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The machine is shared: how long an example takes says nothing about the code. The examples are the
# same in each run, so that a test that passed does not fail without a change of the code.
_UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("vmnet", _UNTIMED, derandomize=True)
settings.register_profile("quick", settings.get_profile("vmnet"), max_examples=20)
# To look for faults that the same examples do not show.
settings.register_profile("random", _UNTIMED, max_examples=1000, print_blob=True)
settings.load_profile("vmnet")
_STATE = Path("/var/lib/vmnet")  # the default of VMNET_DISK_STATE


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kills",
        type=int,
        default=12,
        help="how often test_disk.py ends a VM whose guest writes (12; 200 before a release)",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the modules with long tests first, so that no worker starts one when the others end."""
    long = {item.path for item in items if item.get_closest_marker("long")}
    items.sort(key=lambda item: item.path not in long)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Put temporary folders into a folder of this run, readable to QEMU and dnsmasq without root.

    The folder that pytest uses by default is shared, and each run closes it to other users.
    """
    _stop_ignoring_signals()
    if config.option.basetemp is None:
        folder = Path(tempfile.mkdtemp(prefix="vmnet-tests-"))
        folder.chmod(0o755)
        config.option.basetemp = folder / "run"
        config.add_cleanup(lambda: shutil.rmtree(folder))


@pytest.fixture(autouse=True)
def _own_state() -> Iterator[None]:
    """Fail a test whose VM keeps state in the machine's own folder, where the next VM finds it."""
    existed = _STATE.exists()
    yield
    assert existed or not _STATE.exists(), f"{_STATE} is new: set VMNET_DISK_STATE in the test"


def _stop_ignoring_signals() -> None:
    """Let the programs that tests start handle signals that this process ignores.

    nohup(1) ignores SIGHUP, and a shell starts background jobs with SIGINT and SIGQUIT ignored. A
    shell can't trap a signal that was ignored when the shell started. A handler is reset by
    execve(2), so programs get the default, and it does nothing in this process.
    """
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda _number, _frame: None)
