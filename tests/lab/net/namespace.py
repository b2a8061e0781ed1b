"""Make a network namespace, run programs in it, inspect it, and always remove it."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import signal
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from attrs import define, field, frozen

from vmnet.testing.namespace import Container

from ..command import Argument, Completed, Process, background, run
from ..wait import WAIT, until
from . import snapshot
from .snapshot import Json

_ETC = Path("/etc/netns")  # ip-netns(8) binds the files in /etc/netns/NAME over those in /etc
_serial = itertools.count(1)


@frozen
class Nic:
    """A network interface with its initial configuration."""

    name: str
    mac: str
    address: str
    prefix: int
    address6: str | None
    port: str
    """The name of the cable's other end, in the LAN's host."""


@define
class Namespace:
    """A namespace by name. Its programs see its network, its host name and its files in /etc."""

    name: str
    label: str
    hostname: str
    nics: dict[str, Nic] = field(factory=dict)

    @property
    def path(self) -> Path:
        """The file that keeps the namespace open."""
        return Path("/run/netns", self.name)

    @property
    def etc(self) -> Path:
        """The folder of the resolv.conf, hosts and hostname that programs see in /etc."""
        return _ETC / self.name

    @property
    def address(self) -> str:
        """The IPv4 address of the first interface."""
        return self.nic().address

    @property
    def mac(self) -> str:
        """The MAC address of the first interface."""
        return self.nic().mac

    def nic(self, name: str = "eth0") -> Nic:
        """Return an interface's initial configuration, which may have changed since."""
        return self.nics[name]

    def run(
        self,
        *argv: Argument,
        timeout: float = WAIT,
        input: str | None = None,
        check: bool = True,
        env: Mapping[str, str] | None = None,
        cwd: Argument | None = None,
        pid: bool = False,
    ) -> Completed:
        """Run :func:`command.run` in the namespace; *pid* makes it PID 1."""
        return run(
            *self._enter(pid), *argv, timeout=timeout, input=input, check=check, env=env, cwd=cwd
        )

    @contextmanager
    def popen(
        self,
        *argv: Argument,
        env: Mapping[str, str] | None = None,
        cwd: Argument | None = None,
        pipe: bool = False,
        apart: bool = False,
        pid: bool = False,
    ) -> Iterator[Process]:
        """
        Run :func:`command.background` in the namespace.

        :param pid: make the program PID 1 of a new PID namespace. :attr:`Process.pid` is then its
            ID outside that namespace, so that signals reach it instead of ``unshare``.
        """
        command = (*self._enter(pid), *argv)
        with background(*command, env=env, cwd=cwd, pipe=pipe, apart=apart) as process:
            if pid:
                process.pid = until(
                    lambda: _only_child(process),
                    WAIT,
                    "the program to become PID 1",
                    interval=0.005,
                )
            yield process

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Move the calling thread into the namespace, to test code without a child process."""
        with Container(self.name).entered():
            yield

    def ip(self, *argv: str) -> Completed:
        """Run ``ip -n NAME …``."""
        return run("ip", "-n", self.name, *argv)

    def batch(self, commands: Iterable[str]) -> None:
        """Run commands of ip(8) at once, as an engine does.

        A running VM takes over what is added to the container's NICs when nothing has been added
        for a moment, in which a busy machine may not have started another program.
        """
        run("ip", "-n", self.name, "-batch", "-", input="".join(f"{line}\n" for line in commands))

    def sysctl(self, **settings: str | int) -> None:
        """Set sysctls. ``__`` stands for a dot: ``net__ipv4__ip_forward=1``."""
        pairs = [f"{key.replace('__', '.')}={value}" for key, value in settings.items()]
        run("sysctl", "-qw", *pairs, netns=self.name)

    def links(self) -> list[Json]:
        """Run ``ip -j -d link``."""
        return self._list("-d", "link", "show")

    def link(self, name: str) -> Json | None:
        """Return a link of :meth:`links` by name, or None."""
        return next((link for link in self.links() if link["ifname"] == name), None)

    def await_carriers(self, *names: str) -> None:
        """Wait until the kernel has noticed the carriers of links.

        It drops their frames before, without an error, and does so for long on a busy machine.
        """

        def are_up() -> bool:
            found = {link["ifname"]: link for link in self.links() if link["ifname"] in names}
            ports = (link.get("linkinfo", {}).get("info_slave_data", {}) for link in found.values())
            return (
                len(found) == len(names)
                and all(link["operstate"] == "UP" for link in found.values())
                and all(port.get("state", "forwarding") == "forwarding" for port in ports)
            )

        until(are_up, WAIT, f"carriers of {' and '.join(names)}", interval=0.01)

    def addresses(self, interface: str | None = None) -> list[Json]:
        """Return all IPv4 and IPv6 addresses, each with its interface as ``dev``."""
        return [
            {"dev": link["ifname"], **address}
            for link in self._list("address", "show")
            for address in link["addr_info"]
            if interface in (None, link["ifname"])
        ]

    def routes(self) -> list[Json]:
        """Return the IPv4 and IPv6 routes in the main table."""
        return [*self._list("-4", "route", "show"), *self._list("-6", "route", "show")]

    def dump(self, timeout: float = WAIT) -> Json:
        """Take a snapshot for comparisons, after duplicate address detection has ended."""
        until(
            lambda: not snapshot.tentative(self.name),
            timeout,
            "duplicate address detection",
            detail=lambda: f"tentative: {snapshot.tentative(self.name)}",
        )
        return snapshot.take(self.name)

    def pids(self) -> list[int]:
        """Return the IDs of the processes in the namespace."""
        return [int(word) for word in run("ip", "netns", "pids", self.name).stdout.split()]

    def names(self) -> dict[int, str]:
        """Return the names of the processes by their IDs, without those that end meanwhile."""
        found = {}
        for pid in self.pids():
            with suppress(FileNotFoundError, ProcessLookupError):
                found[pid] = Path(f"/proc/{pid}/comm").read_text().removesuffix("\n")
        return found

    def pids_of(self, name: str) -> list[int]:
        """Return the IDs of the processes with a name (proc_pid_comm(5))."""
        return [pid for pid, found in self.names().items() if found == name]

    def pid_of(self, name: str) -> int:
        """Wait for the only process with a name, which may still have its program's name."""

        def single() -> int | None:
            found = self.pids_of(name)
            return found[0] if len(found) == 1 else None

        return until(single, WAIT, f"one process {name}", detail=lambda: str(self.pids_of(name)))

    def _list(self, *argv: str) -> list[Json]:
        items: list[Json] = self.ip("-j", *argv).json()
        return items

    def _enter(self, pid: bool) -> tuple[str, ...]:
        enter = ("nsenter", f"--uts={_uts(self.name)}", "ip", "netns", "exec", self.name)
        if not pid:
            return enter
        return (*enter, "unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "--")


@contextmanager
def namespace(
    label: str,
    *,
    hostname: str | None = None,
    domainname: str | None = None,
    resolv_conf: str = "",
    hosts: str = "127.0.0.1\tlocalhost\n",
) -> Iterator[Namespace]:
    """
    Make a new namespace that has only ``lo``, which is up.

    :param label: part of the unique name, for listings.
    :param hostname: the host name that programs see, by default the label.
    :param resolv_conf: the text of /etc/resolv.conf.
    """
    _sweep()
    name = f"vmt-{os.getpid()}-{next(_serial)}-{label}"
    made = Namespace(name, label, hostname or label)
    try:
        run("ip", "netns", "add", name)
        made.ip("link", "set", "lo", "up")
        _make_uts(made, domainname)
        made.etc.mkdir(parents=True)
        (made.etc / "resolv.conf").write_text(resolv_conf)
        (made.etc / "hosts").write_text(hosts)
        (made.etc / "hostname").write_text(f"{made.hostname}\n")
        yield made
    finally:
        _remove(name)


def _uts(name: str) -> Path:
    """Return the file that keeps the UTS namespace open, which has no standard folder."""
    return Path("/run", f"{name}.uts")


def _make_uts(made: Namespace, domainname: str | None) -> None:
    """Make a UTS namespace that persists between programs, as a container's does."""
    uts = _uts(made.name)
    uts.touch()
    run("unshare", f"--uts={uts}", "hostname", made.hostname)
    if domainname:
        run("nsenter", f"--uts={uts}", "sysctl", "-qw", f"kernel.domainname={domainname}")


def _remove(name: str) -> None:
    """Remove a namespace and kill its programs. Missing parts are not an error."""
    pids = run("ip", "netns", "pids", name, check=False).stdout.split()
    for pid in map(int, pids):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    run("ip", "netns", "delete", name, check=False)
    run("umount", _uts(name), check=False)
    _uts(name).unlink(missing_ok=True)
    shutil.rmtree(_ETC / name, ignore_errors=True)


def _sweep() -> None:
    """Remove what killed runs left behind. A namespace's name contains the run's process ID."""
    for path in Path("/run/netns").glob("vmt-*"):
        owner = re.match(r"vmt-(\d+)-", path.name)
        if owner and not Path("/proc", owner[1]).exists():
            _remove(path.name)


def _only_child(parent: Process) -> int | None:
    """Return the child of ``unshare --fork`` after its exec, or ``unshare`` if that has ended."""
    if parent.poll() is not None:
        return parent.pid
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    with suppress(OSError, ValueError):  # both may end meanwhile, and the child may not exist yet
        child = int(children.read_text())
        if Path(f"/proc/{child}/exe").readlink() != Path(f"/proc/{parent.pid}/exe").readlink():
            return child
    return None
