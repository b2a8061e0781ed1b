"""Whatever fails, and whenever a start is killed: the network is as it was, or the next start has
it as it was. Every system call with an effect is tried, each in a start of its own.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.command import Completed
from tests.lab.folders import open_to_readers
from tests.lab.namespace import Namespace
from tests.lab.netns import Lan
from tests.lab.snapshot import Json, require_same
from tests.netns.faults import Effect, Start, environ_of
from vmnet.errors import LaunchError

pytestmark = pytest.mark.long

_DOCUMENTED = range(10, 20)
_GONE = "/nonexistent"  # a hypervisor that is missed before anything changes, after the recovery


@pytest.fixture
def web(network: Lan) -> Namespace:
    """IPv4 and IPv6, routes of several kinds, and a resolver that only the container reaches.

    It is not Docker's, which is asked for the networks' names: how often, is not always the same.
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
    # dnsmasq gives up root and must still reach its files.
    open_to_readers(tmp_path)
    (tmp_path / "run").mkdir()  # which only the first of many starts would do
    environ = {**environ_of(tmp_path), "VMNET_BRIDGE_ADDRESS": "172.30.1.250/24"}
    return Start(web, environ, tmp_path / "strace.log")


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
    for effect in (one for one in effects if one.changes_something):
        killed = start.killed(effect)
        assert killed.returncode == 128 + 9, f"{effect}: {killed.stderr}"
        recovered = _recover(start)
        wrong += _changes(before, web, effect, recovered)
    assert not wrong, "\n\n".join(wrong)
    again = start.undisturbed()
    assert (again.returncode, _wired(web)) == (0, wired), again.stderr


def test_a_recovery_that_is_killed(start: Start, web: Namespace) -> None:
    """The second start finds the first one's bridge, and dies while it gives the network back."""
    before = web.dump()
    assert start.undisturbed().returncode == 0
    until_saved = _up_to_the_save(start.effects())
    _recover(start)
    wrong = []
    for effect in (one for one in until_saved if one.changes_something):
        assert start.undisturbed().returncode == 0
        killed = start.killed(effect)
        assert killed.returncode == 128 + 9, f"{effect}: {killed.stderr}"
        wrong += _changes(before, web, effect, _recover(start))
    assert not wrong, "\n\n".join(wrong)
    assert len(until_saved) > 20


def _is_survived(effect: Effect, ended: Completed) -> bool:
    """What a start can do without: it says so, or has another way."""
    if ended.returncode != 0:
        return False
    # Looking for the IPv6 gateway and a free address: a warning. Asking for an index: libc tries
    # sockets of other families. The folder: it is there already. Becoming QEMU's user for a try:
    # QEMU is then root. The alarm: the guard looks by itself. Python tries an epoll of its own.
    # Watching the devices: a warning.
    looking = ("AF_PACKET", "SIOCGIF", "nl_groups=0x000001", "FIONCLEX")
    probing = any(one in effect.arguments for one in looking)
    tried = effect.call in ("setgroups", "setresgid", "setresuid") and effect.number == 1
    others = ("epoll_create1", "mkdir", "signalfd4", "socket")
    assert probing or tried or _names_process(effect) or effect.call in others, str(effect)
    return True


def _names_process(effect: Effect) -> bool:
    """Whether the call sets the name that ps(1) shows; a container's /proc may be read-only."""
    if effect.call == "openat":
        return '"/proc/self/comm"' in effect.arguments
    return effect.call == "write" and effect.arguments.endswith(', "vmnet", 5')


def _is_reported(ended: Completed) -> bool:
    says = "vmnet: error: " in ended.stderr and "vmnet: hint: " in ended.stderr
    blames = "error of the plugin" in ended.stderr or "Traceback" in ended.stderr
    return ended.returncode in _DOCUMENTED and says and not blames


def _changes(before: Json, web: Namespace, effect: Effect, ended: Completed) -> list[str]:
    try:
        require_same(before, web.dump())
    except AssertionError as difference:
        return [f"{effect}: {difference}\n{ended.stderr}"]
    return []


def _recover(start: Start) -> Completed:
    """A start that puts back what it finds, and then gets no further."""
    ended = start.undisturbed(VMNET_QEMU=_GONE)
    assert ended.returncode == LaunchError.exit_code, ended.stderr
    return ended


def _up_to_the_save(effects: list[Effect]) -> list[Effect]:
    number = next(at for at, one in enumerate(effects) if "state.json" in one.arguments)
    return effects[:number]


def _wired(web: Namespace) -> Json:
    """The network as the guest has it, without what the kernel makes up for each new bridge."""
    found = web.dump()
    found["links"].pop("tap0", None)
    return found
