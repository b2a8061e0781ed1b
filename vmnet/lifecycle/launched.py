"""What a start leaves on record of the machine it becomes, for whoever looks at it later.

Processes are told by their PID and the time of their start, so a record of an earlier container in
the same folder, or a PID that somebody else has now, is nobody's.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vmnet.lifecycle import files
from vmnet.noun import Noun, noun
from vmnet.serial import plain

if TYPE_CHECKING:
    from vmnet.machine import Command
    from vmnet.wiring import Port, Wiring

VERSION = 3
_FILE = "launched.json"
# What a state in proc_pid_stat(5) means for a helper.
_TROUBLE = {"T": "is stopped", "t": "is stopped", "X": "has ended", "Z": "has ended"}
_HERTZ = os.sysconf("SC_CLK_TCK")


@noun
class Process(Noun):
    """A process, whether it still runs or not.

    :param started: when, in clock ticks since the boot (proc_pid_stat(5))
    """

    name: str
    pid: int
    started: int

    @classmethod
    def of(cls, name: str, pid: int) -> Process:
        """The process that has this PID now; one that has none has never started."""
        return cls(name, pid, _started(pid) or 0)

    @property
    def runs(self) -> bool:
        return self.started > 0 and _started(self.pid) == self.started

    @property
    def seconds(self) -> float:
        """For how long it has been running."""
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        return max(now - self.started / _HERTZ, 0.0)


@noun
class Helper(Noun):
    """A process that serves the machine; when it has ended the keeper starts another one.

    :param pidfile: which one it is now; without it there is none, and may be again
    """

    name: str
    pidfile: Path

    def look(self) -> tuple[int, str]:
        """Its PID, 0 if there is none; and what is wrong with it, empty if nothing is."""
        try:
            pid = int(self.pidfile.read_text())
        except (OSError, ValueError):
            return 0, "has ended"
        return pid, _TROUBLE.get(_stat(pid)[0], "")


@noun
class Nic(Noun):
    """One of the guest's NICs, and where it can be asked.

    :param bridge: the bridge that it is on
    :param asker: the bridge's own address, which questions come from
    :param nameservers: addresses of the bridge where the guest's names are forwarded
    :param addresses: those that the guest is to have
    :param confined: whether the guest can have no others
    """

    name: str
    tap: str
    mac: str
    bridge: str
    bridge_mac: str
    asker: str
    nameservers: tuple[str, ...]
    addresses: tuple[str, ...]
    confined: bool


@noun
class Launched(Noun):
    """A machine as it was launched.

    :param helpers: the daemons that serve it, its guard, and what keeps all of these
    :param qmp: its control socket; None where it has none
    :param console: its serial console's socket, likewise
    """

    machine: Process
    helpers: tuple[Helper, ...]
    nics: tuple[Nic, ...]
    qmp: Path | None
    console: Path | None


def save(run_dir: Path, launched: Launched) -> None:
    """:raises StateError: the run directory can't be written"""
    document = {"version": VERSION, **plain(launched)}
    files.write(run_dir / _FILE, json.dumps(document).encode())


def discard(run_dir: Path) -> None:
    (run_dir / _FILE).unlink(missing_ok=True)


def load(run_dir: Path) -> Launched | None:
    """The machine that runs now; None where none does.

    :raises StateError: the record can't be read
    """
    launched = files.load(run_dir / _FILE, _launched)
    return launched if launched is not None and launched.machine.runs else None


def describe(
    command: Command,
    wiring: Wiring,
    addresses: Iterable[Iterable[object]],
    helpers: Iterable[Helper],
) -> Launched:
    """The record of a command that this process is about to become.

    :param addresses: for each port those that its guest is to have
    """
    return Launched(
        machine=Process.of(Path(command.argv[0]).name, os.getpid()),
        helpers=tuple(helpers),
        nics=tuple(
            Nic(
                name=port.uplink,
                tap=port.tap,
                mac=port.guest_mac,
                bridge=port.bridge,
                bridge_mac=port.bridge_mac,
                asker=str(port.bridge_address.ip),
                nameservers=_nameservers(port, wiring),
                addresses=tuple(map(str, own)),
                confined=port.sender is not None and port.sender.addresses is not None,
            )
            for port, own in zip(wiring.ports, addresses, strict=True)
        ),
        qmp=command.qmp,
        console=command.console,
    )


def _nameservers(port: Port, wiring: Wiring) -> tuple[str, ...]:
    if wiring.nameserver != port.bridge_address.ip:
        return ()
    return tuple(dict.fromkeys((str(wiring.nameserver), str(wiring.stable_nameserver))))


def _launched(document: Mapping[str, Any]) -> Launched:
    """By hand: `vmnet health` comes by often, and cattrs takes longer than all of it."""
    if document["version"] != VERSION:
        raise ValueError(f"version {document['version']}")
    lists = ("addresses", "nameservers")
    nics = ({**one, **{key: tuple(one[key]) for key in lists}} for one in document["nics"])
    qmp, console = document["qmp"], document["console"]
    return Launched(
        machine=Process(**document["machine"]),
        helpers=tuple(Helper(one["name"], Path(one["pidfile"])) for one in document["helpers"]),
        nics=tuple(Nic(**one) for one in nics),
        qmp=None if qmp is None else Path(qmp),
        console=None if console is None else Path(console),
    )


def _started(pid: int) -> int | None:
    """When a process started; None if there is none, or only its remains."""
    state, *fields = _stat(pid)
    return None if state in "ZX" else int(fields[18])


def _stat(pid: int) -> list[str]:
    """The fields of proc_pid_stat(5) from the state on, which is X where there is no process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ["X"]
    return text.rpartition(")")[2].split()
