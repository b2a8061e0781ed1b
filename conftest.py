"""What every test shares."""

from __future__ import annotations

import shutil
import signal
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# The machine is shared: how long an example takes says nothing about the code.
settings.register_profile("vmnet", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("vmnet")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kills",
        type=int,
        default=12,
        help="how often test_disk.py ends a VM whose guest writes (12; 200 before a release)",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Temporary folders of this run's own: QEMU and dnsmasq, which are not root, must reach theirs,
    and every run of pytest closes the folder that all of them share.
    """
    _let_programs_hear_hangups()
    if config.option.basetemp is None:
        folder = Path(tempfile.mkdtemp(prefix="vmnet-tests-"))
        config.option.basetemp = folder / "run"
        config.add_cleanup(lambda: shutil.rmtree(folder))


def _let_programs_hear_hangups() -> None:
    """Under nohup(1) SIGHUP is ignored, also in all that the tests start, and a shell that finds a
    signal ignored can't trap it. With a handler of ours it is theirs again, and passes us by.
    """
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda _number, _frame: None)
