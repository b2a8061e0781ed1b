"""Collect the status of the running VM."""

from __future__ import annotations

from pathlib import Path

from vmnet import engine
from vmnet.errors import GuestError
from vmnet.hooks.facade import Hooks
from vmnet.lifecycle import state
from vmnet.lifecycle.changes import uplink_record as uplinks
from vmnet.lifecycle.vm_record import Helper, VmRecord
from vmnet.model.base import frozen
from vmnet.model.identity import Identity
from vmnet.model.wiring import Wiring
from vmnet.net import device
from vmnet.running import guest_answers, guest_network, local_state, qmp_session
from vmnet.running.guest_answers import GuestAnswers
from vmnet.running.guest_network import GuestAddresses
from vmnet.running.local_state import LocalState
from vmnet.settings.core import RUN_DIR

_ACCELERATORS = {True: "kvm", False: "tcg"}


@frozen
class Qemu:
    """QEMU's state and version.

    :param state: of QAPI's RunState; empty if the query failed
    :param accelerator: ``kvm``, or ``tcg`` for emulation
    :param architecture: of the guest's processor
    :param unknown: why the query failed
    """

    state: str = ""
    accelerator: str = ""
    architecture: str = ""
    version: str = ""
    unknown: str = ""


@frozen
class Running:
    """A process of the VM.

    :param runs: whether the process runs and is not stopped
    :param trouble: why it does not run; empty if it does
    """

    name: str
    pid: int
    runs: bool
    trouble: str = ""

    @classmethod
    def of(cls, helper: Helper) -> Running:
        pid, trouble = helper.state()
        return cls(helper.name, pid, not trouble, trouble)


@frozen
class Handed:
    """A :class:`vmnet.model.delivery.Handover` with the name of the strategy that reports it."""

    strategy: str
    interface: str
    done: bool | None
    detail: str


@frozen
class Status:
    """The status of a running VM.

    :param nics: each NIC's model, and how its packets are carried, in words
    :param firmware: in words, with the reason for it
    :param uptime: seconds since QEMU's process was started
    :param local: each NIC's own end in the container in its current state; ``wiring`` has the state
        at the start
    :param uplinks: each NIC's trouble; empty if there is none
    :param added_nics: NICs that were added after the start and do not belong to the VM
    :param in_guest: each NIC's addresses as the guest's agent reports them
    :param changes: the networks that were connected and disconnected while the VM runs
    """

    process: Running
    uptime: float
    qemu: Qemu
    firmware: str
    identity: Identity
    wiring: Wiring
    nics: tuple[str, ...]
    handovers: tuple[Handed, ...]
    local: tuple[LocalState, ...]
    uplinks: tuple[str, ...]
    added_nics: tuple[str, ...]
    changes: tuple[str, ...]
    guest: tuple[GuestAnswers, ...]
    in_guest: tuple[GuestAddresses, ...]
    helpers: tuple[Running, ...]


def of(record: VmRecord, hooks: Hooks) -> Status:
    """Collect the status of a VM.

    :raises GuestError: the run directory has no record of its identity
    """
    saved = state.load(hooks.settings[RUN_DIR], hooks.restorers)
    if saved is None:
        raise GuestError(
            "a VM runs, but not in this network namespace",
            f"run the command in the VM's container: {engine.command('exec', 'vmnet', 'status')}",
        )
    identity, wiring = saved.identity, saved.wiring
    troubles, added_nics, changes = _uplinks(hooks.settings[RUN_DIR])
    return Status(
        process=Running(record.hypervisor.name, record.hypervisor.pid, runs=True),
        uptime=round(record.hypervisor.seconds, 1),
        qemu=_qemu(record.qmp),
        firmware=record.firmware,
        identity=identity,
        wiring=wiring,
        nics=tuple(nic.device for nic in record.nics),
        handovers=tuple(
            Handed(name, handover.interface, handover.done, handover.detail)
            for name, handover in hooks.status(identity, wiring)
        ),
        local=tuple(map(local_state.read, record.nics)),
        uplinks=tuple(troubles.get(nic.name, "") for nic in record.nics),
        added_nics=added_nics,
        changes=changes,
        guest=tuple(guest_answers.ask(nic) for nic in record.nics),
        in_guest=guest_network.compare(record),
        helpers=tuple(map(Running.of, record.helpers)),
    )


def _uplinks(run_dir: Path) -> tuple[dict[str, str], tuple[str, ...], tuple[str, ...]]:
    """Return the troubles by NIC, the names of NICs that the VM does not have, and the changes."""
    record = uplinks.load(run_dir)
    if record is None:
        return {}, (), ()
    now = device.devices()
    troubles = {uplink.name: uplinks.trouble(uplink, now) for uplink in record.uplinks}
    shut = tuple(now[index].name for index in record.shut if index in now)
    return troubles, shut, record.events


def _qemu(path: Path | None) -> Qemu:
    if path is None:
        return Qemu(unknown="the launch strategy provides no control socket")
    try:
        return _ask(path)
    except GuestError as error:
        return Qemu(unknown=error.message)


def _ask(path: Path) -> Qemu:
    with qmp_session.session(path) as qemu:
        found = qemu.ask("query-status")
        kvm = qemu.ask("query-kvm")
        architecture = qemu.ask("query-target")["arch"]
        version = (qemu.ask("query-version"))["qemu"]
    return Qemu(
        found["status"],
        _ACCELERATORS[kvm["enabled"]],
        architecture,
        f"{version['major']}.{version['minor']}.{version['micro']}",
    )
