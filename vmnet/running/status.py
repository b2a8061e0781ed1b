"""All that can be seen of a running machine from beside it."""

from __future__ import annotations

from pathlib import Path

from vmnet.errors import GuestError
from vmnet.hooks import Hooks
from vmnet.identity import Identity
from vmnet.lifecycle import state, uplinks
from vmnet.lifecycle.launched import Helper, Launched
from vmnet.net import device
from vmnet.noun import Noun, noun
from vmnet.running import bridges, guest, monitor
from vmnet.running.bridges import Bridge
from vmnet.running.guest import Presence
from vmnet.settings import RUN_DIR
from vmnet.wiring import Wiring

_ACCELERATORS = {True: "kvm", False: "tcg"}


@noun
class Qemu(Noun):
    """What QEMU says of itself.

    :param state: of QAPI's RunState; empty where it could not be asked
    :param accelerator: ``kvm``, or ``tcg`` for emulation
    :param unknown: why it could not be asked
    """

    state: str = ""
    accelerator: str = ""
    version: str = ""
    unknown: str = ""


@noun
class Running(Noun):
    """A process that belongs to the machine.

    :param runs: whether it does, and is not stopped
    :param trouble: why it does not; empty where it does
    """

    name: str
    pid: int
    runs: bool
    trouble: str = ""

    @classmethod
    def of(cls, helper: Helper) -> Running:
        pid, trouble = helper.look()
        return cls(helper.name, pid, not trouble, trouble)


@noun
class Handed(Noun):
    """A :class:`vmnet.delivery.Handover`, and the strategy that tells it."""

    strategy: str
    interface: str
    done: bool | None
    detail: str


@noun
class Status(Noun):
    """A running machine.

    :param uptime: seconds since QEMU's process was started
    :param bridges: for each NIC its bridge as it is now; ``wiring`` is as the start made it
    :param uplinks: for each NIC what is wrong with it; empty if nothing is
    :param newcomers: NICs that came since the start and are not the VM's
    """

    process: Running
    uptime: float
    qemu: Qemu
    identity: Identity
    wiring: Wiring
    handovers: tuple[Handed, ...]
    bridges: tuple[Bridge, ...]
    uplinks: tuple[str, ...]
    newcomers: tuple[str, ...]
    guest: tuple[Presence, ...]
    helpers: tuple[Running, ...]


def of(machine: Launched, hooks: Hooks) -> Status:
    """:raises GuestError: its identity is not on record"""
    saved = state.load(hooks.settings[RUN_DIR])
    if saved is None:
        raise GuestError(
            "a VM runs, but not in this network namespace",
            "ask in its container: `docker exec NAME vmnet status`",
        )
    identity, wiring = saved.identity, saved.wiring
    troubles, newcomers = _uplinks(hooks.settings[RUN_DIR])
    return Status(
        process=Running(machine.machine.name, machine.machine.pid, runs=True),
        uptime=round(machine.machine.seconds, 1),
        qemu=_qemu(machine.qmp),
        identity=identity,
        wiring=wiring,
        handovers=tuple(
            Handed(name, one.interface, one.done, one.detail)
            for name, one in hooks.status(identity, wiring)
        ),
        bridges=tuple(map(bridges.look, machine.nics)),
        uplinks=tuple(troubles.get(nic.name, "") for nic in machine.nics),
        newcomers=newcomers,
        guest=tuple(guest.ask(nic) for nic in machine.nics),
        helpers=tuple(map(Running.of, machine.helpers)),
    )


def _uplinks(run_dir: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    """What is wrong with each of the NICs, and the names of those that came since the start."""
    record = uplinks.load(run_dir)
    if record is None:
        return {}, ()
    now = device.devices()
    troubles = {one.name: uplinks.trouble(one, now) for one in record.uplinks}
    return troubles, tuple(now[one].name for one in record.shut if one in now)


def _qemu(path: Path | None) -> Qemu:
    if path is None:
        return Qemu(unknown="the launch strategy has no control socket")
    try:
        return _ask(path)
    except GuestError as error:
        return Qemu(unknown=error.message)


def _ask(path: Path) -> Qemu:
    with monitor.session(path) as qemu:
        found = qemu.ask("query-status")
        kvm = qemu.ask("query-kvm")
        version = (qemu.ask("query-version"))["qemu"]
    return Qemu(
        found["status"],
        _ACCELERATORS[kvm["enabled"]],
        f"{version['major']}.{version['minor']}.{version['micro']}",
    )
