"""Starts in which a system call fails, or that are killed after a system call.

Each system call that has an effect is tried in a separate start. A failed start leaves the network
as it was. After a killed start, the next start restores it.
"""

from __future__ import annotations

import compileall
import re
from pathlib import Path

import pytest

from tests.lab.command import Completed
from tests.lab.folders import open_to_readers
from tests.lab.net.lan import Lan
from tests.lab.net.namespace import Namespace
from tests.lab.net.snapshot import Json, require_same
from tests.netns.faults import NFTABLES, SOCK_DIAG, Effect, Start, environ_of
from vmnet.errors import LaunchError

pytestmark = pytest.mark.long

_ROOT = Path(__file__).parents[2]
_DOCUMENTED = range(10, 20)
# A start with this hypervisor restores the network, and fails before it changes anything.
_GONE = "/nonexistent"


@pytest.fixture
def web(network: Lan) -> Namespace:
    """Create a container with IPv4 and IPv6, several kinds of routes and a loopback resolver.

    The resolver is not Docker's, because the number of queries for its networks' names varies.
    """
    return network.container(
        "web",
        ipv6=True,
        extra=("172.30.1.200/24",),
        routes=("10.1.0.0/16 via 172.30.1.1 metric 50", "169.254.1.1 dev eth0 scope link"),
        resolv_conf="nameserver 127.0.0.53\n",
    )


@pytest.fixture
def start(web: Namespace, tmp_path: Path) -> Start:
    return _start(web, tmp_path)


def _start(web: Namespace, tmp_path: Path) -> Start:
    # dnsmasq gives up root and must still reach its files.
    open_to_readers(tmp_path)
    # Without bytecode, a module takes more system calls, until another test writes its bytecode.
    for folder in ("vmnet", "plugins", "examples"):
        compileall.compile_dir(_ROOT / folder, quiet=1)
    (tmp_path / "run").mkdir()  # otherwise only the first start would create it
    environ = {**environ_of(tmp_path), "VMNET_BRIDGE_ADDRESS": "172.30.1.250/24"}
    made = Start(web, environ, tmp_path / "strace.log")
    # A start reads the PID files that an earlier start left, which takes more system calls.
    assert made.undisturbed().returncode == 0
    _recover(made)
    return made


def test_a_call_that_fails(start: Start, web: Namespace) -> None:
    before = web.dump()
    effects = start.effects()
    _recover(start)
    require_same(before, web.dump())
    wrong = []
    for effect in effects:
        ended = start.failing(effect, "EIO")
        if _is_survived(effect, ended):
            _recover(start)
        elif not _is_reported(ended):
            wrong.append(f"{effect}: {ended.returncode} {ended.stderr}")
        wrong += _changes(before, web, effect, ended)
    assert not wrong, "\n\n".join(wrong)
    assert len(effects) > 100


def test_a_start_that_is_killed(start: Start, web: Namespace) -> None:
    before = web.dump()
    effects = start.effects()
    wired = _wired(web)
    _recover(start)
    wrong = []
    for effect in (effect for effect in effects if effect.changes_something):
        killed = start.killed(effect)
        assert killed.returncode == 128 + 9, f"{effect}: {killed.stderr}"
        recovered = _recover(start)
        wrong += _changes(before, web, effect, recovered)
    assert not wrong, "\n\n".join(wrong)
    again = start.undisturbed()
    assert (again.returncode, _wired(web)) == (0, wired), again.stderr


def test_a_recovery_that_is_killed(start: Start, web: Namespace) -> None:
    """The second start is killed while it restores the network of the first."""
    before = web.dump()
    assert start.undisturbed().returncode == 0
    until_saved = _up_to_the_save(start.effects())
    _recover(start)
    wrong = []
    for effect in (effect for effect in until_saved if effect.changes_something):
        assert start.undisturbed().returncode == 0
        killed = start.killed(effect)
        assert killed.returncode == 128 + 9, f"{effect}: {killed.stderr}"
        wrong += _changes(before, web, effect, _recover(start))
    assert not wrong, "\n\n".join(wrong)
    assert len(until_saved) > 20


def test_a_redirection_that_fails_or_is_killed(network: Lan, tmp_path: Path) -> None:
    """Only the requests to the kernel differ from a start with a bridge."""
    web = network.container("web", ipv6=True, kind="macvlan", resolv_conf="nameserver 127.0.0.53\n")
    start, before = _start(web, tmp_path), web.dump()
    requests = re.compile("RTM_(NEW|DEL)")
    effects = [effect for effect in start.effects() if requests.search(effect.arguments)]
    _recover(start)
    wrong = []
    for effect in effects:
        failed = start.failing(effect, "EIO")
        if not _is_reported(failed):
            wrong.append(f"{effect}: {failed.returncode} {failed.stderr}")
        wrong += _changes(before, web, effect, failed)
        start.killed(effect)
        wrong += _changes(before, web, effect, _recover(start))
    assert not wrong, "\n\n".join(wrong)
    assert len(effects) > 20


def _is_survived(effect: Effect, ended: Completed) -> bool:
    """Return whether a start succeeded without an effect that it does not need."""
    if ended.returncode != 0:
        return False
    # The probes for the IPv6 gateway and a free address, and the watch of the devices, only cause
    # a warning. For an interface's index, libc tries sockets of other families. mkdir: the folder
    # exists. setgroups, setresgid, setresuid: if planning can't try QEMU's user, QEMU is root.
    # signalfd4: without an alarm the guard polls. epoll_create1: Python's selectors module tries it
    # when it is imported. ioctl FIONCLEX: Python has a fallback. write to 100: the announcement of
    # the guest's addresses by the tap.
    # Without sock_diag, the sockets come from /proc. Without nftables, the saved state has no copy.
    # A count of restarts that can't be removed only shows an earlier VM's restarts in the metrics.
    optional = ("AF_PACKET", "SIOCGIF", "FIONCLEX", ".restarts", *SOCK_DIAG, *NFTABLES)
    is_optional = any(word in effect.arguments for word in optional)
    is_optional |= "uplinks: can't watch for changes" in ended.stderr
    is_announcement = effect.call == "write" and effect.arguments.startswith("100,")
    is_try = effect.call in ("setgroups", "setresgid", "setresuid") and effect.number == 1
    calls = ("epoll_create1", "mkdir", "signalfd4", "socket")
    assert (
        is_optional or is_announcement or is_try or _names_process(effect) or effect.call in calls
    ), str(effect)
    return True


def _names_process(effect: Effect) -> bool:
    """Whether the call sets the name that ps(1) shows; a container's /proc may be read-only."""
    if effect.call == "openat":
        return '"/proc/self/comm"' in effect.arguments
    return effect.call == "write" and effect.arguments.endswith(', "vmnet", 5')


def _is_reported(ended: Completed) -> bool:
    has_error = "vmnet: error: " in ended.stderr and "vmnet: hint: " in ended.stderr
    is_bug = "error of the plugin" in ended.stderr or "Traceback" in ended.stderr
    return ended.returncode in _DOCUMENTED and has_error and not is_bug


def _changes(before: Json, web: Namespace, effect: Effect, ended: Completed) -> list[str]:
    try:
        require_same(before, web.dump())
    except AssertionError as difference:
        return [f"{effect}: {difference}\n{ended.stderr}"]
    return []


def _recover(start: Start) -> Completed:
    """Run a start that restores the network and then fails."""
    ended = start.undisturbed(VMNET_QEMU=_GONE)
    assert ended.returncode == LaunchError.exit_code, ended.stderr
    return ended


def _up_to_the_save(effects: list[Effect]) -> list[Effect]:
    number = next(at for at, effect in enumerate(effects) if "state.json" in effect.arguments)
    return effects[:number]


def _wired(web: Namespace) -> Json:
    """Return the network of the running VM without the tap, whose MAC is random."""
    found = web.dump()
    found["links"].pop("tap0", None)
    return found
