"""The record of the running VM, which a start writes and the other commands read.

It identifies processes by PID and start time. So the record of an earlier container in the same
folder, or a PID that another process has now, matches no process.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vmnet.lifecycle import files
from vmnet.model.base import frozen
from vmnet.model.serial import plain

if TYPE_CHECKING:
    from vmnet.model.identity import Identity
    from vmnet.model.machine import Command
    from vmnet.model.wiring import Port, Wiring

VERSION = 7
_FILE = "vm.json"
# States of proc_pid_stat(5) in which a helper does not work.
_TROUBLE = {"T": "is stopped", "t": "is stopped", "X": "has ended", "Z": "has ended"}
_HERTZ = os.sysconf("SC_CLK_TCK")


@frozen
class Process:
    """A process that may have ended.

    :param started: its start in clock ticks since the boot (proc_pid_stat(5)); 0 if it never ran
    """

    name: str
    pid: int
    started: int

    @classmethod
    def with_pid(cls, name: str, pid: int) -> Process:
        """Return the process that has this PID now."""
        return cls(name, pid, _started(pid) or 0)

    @property
    def runs(self) -> bool:
        return self.started > 0 and _started(self.pid) == self.started

    @property
    def seconds(self) -> float:
        """The seconds since its start."""
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        return max(now - self.started / _HERTZ, 0.0)


@frozen
class Helper:
    """A process that serves the VM, and that the keeper restarts when it ends.

    :param pidfile: contains its current PID; missing while the helper does not run
    """

    name: str
    pidfile: Path

    def state(self) -> tuple[int, str]:
        """Return its PID or 0, and what is wrong with it or an empty string."""
        try:
            pid = int(self.pidfile.read_text())
        except (OSError, ValueError):
            return 0, "has ended"
        return pid, _TROUBLE.get(_stat(pid)[0], "")

    @property
    def is_vital(self) -> bool:
        """Whether the VM needs it. Nothing of the VM depends on its metrics."""
        from vmnet.supervision import exporter  # few commands need it

        return self.pidfile.name != exporter.PIDFILE  # no plugin may deliver it


@frozen
class GuestNic:
    """A NIC of the guest, and the data to check whether the guest answers on it.

    :param tap: its tap; empty if it has none
    :param local_device: the container's own end of the link, such as the bridge; empty if there is
        none, so that vmnet cannot ask the guest
    :param local_mac: the MAC of the own end
    :param local_address: the address of the own end, from which vmnet asks the guest
    :param nameservers: the addresses of the own end that forward the guest's DNS queries
    :param addresses: the addresses that the guest should have
    :param confined: whether a filter restricts the guest to these addresses
    :param takes_spare: whether the own end takes a spare address after the start
    :param stream: the socket of the helper that exchanges frames with it; empty with a tap
    :param device: its model and how its packets are carried, in words
    """

    name: str
    tap: str
    mac: str
    local_device: str
    local_mac: str
    local_address: str
    nameservers: tuple[str, ...]
    addresses: tuple[str, ...]
    confined: bool
    takes_spare: bool
    stream: str = ""
    device: str = ""


@frozen
class VmRecord:
    """The VM as it was started.

    :param hypervisor: its process
    :param helpers: the daemons, the guard and the keeper
    :param qmp: the control socket, if there is one
    :param console: the socket of the serial console, if there is one
    :param agent: the socket of the channel to the guest's agent, if there is one
    :param firmware: the firmware in words
    """

    hypervisor: Process
    helpers: tuple[Helper, ...]
    nics: tuple[GuestNic, ...]
    qmp: Path | None
    console: Path | None
    agent: Path | None
    firmware: str = ""


def save(run_dir: Path, record: VmRecord) -> None:
    """:raises StateError: the run directory can't be written"""
    document = {"version": VERSION, **plain(record)}
    files.write(run_dir / _FILE, json.dumps(document).encode())


def discard(run_dir: Path) -> None:
    (run_dir / _FILE).unlink(missing_ok=True)


def load(run_dir: Path) -> VmRecord | None:
    """Return the running VM, or None if none runs.

    :raises StateError: the record can't be read
    """
    record = files.load(run_dir / _FILE, _build)
    return record if record is not None and record.hypervisor.runs else None


def describe(
    command: Command,
    wiring: Wiring,
    addresses: Iterable[Iterable[object]],
    helpers: Iterable[Helper],
    firmware: str = "",
    *,
    devices: Iterable[str],
) -> VmRecord:
    """Return the record of a command that this process is about to execute.

    :param addresses: for each port the addresses that the guest should have
    :param devices: for each port the guest's NIC in words
    """
    return VmRecord(
        hypervisor=Process.with_pid(Path(command.argv[0]).name, os.getpid()),
        helpers=tuple(helpers),
        nics=guest_nics(wiring, addresses, devices),
        qmp=command.qmp,
        console=command.console,
        agent=command.agent,
        firmware=firmware,
    )


def expected(identity: Identity, *, outside: bool) -> Iterator[list[object]]:
    """Yield for each interface the addresses that the guest should have.

    :param outside: another system gives the guest its addresses
    """
    for interface in identity.interfaces:
        yield [] if outside else [address.ip for address in interface.addresses]


def guest_nics(
    wiring: Wiring, addresses: Iterable[Iterable[object]], devices: Iterable[str]
) -> tuple[GuestNic, ...]:
    """Return the guest's NICs.

    :param addresses: for each port the addresses that the guest should have
    :param devices: for each port the guest's NIC in words
    """
    return tuple(
        _nic(port, wiring, tuple(map(str, expected)), device)
        for port, expected, device in zip(wiring.ports, addresses, devices, strict=True)
    )


def _nic(port: Port, wiring: Wiring, addresses: tuple[str, ...], device: str) -> GuestNic:
    from vmnet.model.wiring import Stream  # the other commands do not need it

    own = port.local
    return GuestNic(
        name=port.uplink,
        tap=port.tap.name if port.tap else "",
        mac=port.guest_mac,
        local_device=own.device if own else "",
        local_mac=own.mac if own else "",
        local_address=str(own.address.ip) if own else "",
        nameservers=_nameservers(port, wiring),
        addresses=addresses,
        confined=port.sender is not None and port.sender.addresses is not None,
        takes_spare=own is not None and own.link_local is None and bool(own.spares),
        stream=str(port.backend.path) if isinstance(port.backend, Stream) else "",
        device=device,
    )


def _nameservers(port: Port, wiring: Wiring) -> tuple[str, ...]:
    if not wiring.forwards(port):
        return ()
    return tuple(dict.fromkeys((str(wiring.nameserver), str(wiring.stable_nameserver))))


def _build(document: Mapping[str, Any]) -> VmRecord:
    """Build the record without cattrs, whose import takes longer than all of `vmnet health`."""
    if document["version"] != VERSION:
        raise ValueError(f"version {document['version']}")
    lists = ("addresses", "nameservers")
    nics = ({**nic, **{key: tuple(nic[key]) for key in lists}} for nic in document["nics"])
    qmp, console, agent = (document[key] for key in ("qmp", "console", "agent"))
    return VmRecord(
        hypervisor=Process(**document["hypervisor"]),
        helpers=tuple(
            Helper(helper["name"], Path(helper["pidfile"])) for helper in document["helpers"]
        ),
        nics=tuple(GuestNic(**nic) for nic in nics),
        qmp=None if qmp is None else Path(qmp),
        console=None if console is None else Path(console),
        agent=None if agent is None else Path(agent),
        firmware=document["firmware"],
    )


def _started(pid: int) -> int | None:
    """Return the start time of a process, or None if it does not exist or is a zombie."""
    state, *fields = _stat(pid)
    return None if state in "ZX" else int(fields[18])


def _stat(pid: int) -> list[str]:
    """Return the fields of proc_pid_stat(5) from the state on; without a process the state is X."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ["X"]
    return text.rpartition(")")[2].split()
