"""One network namespace: made, entered, looked at, and always taken away again."""

from __future__ import annotations

import ctypes
import itertools
import os
import re
import shutil
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from attrs import define, field, frozen

from . import snapshot
from .command import Argument, Completed, Process, background, run
from .snapshot import Json
from .wait import until

_ETC = Path("/etc/netns")  # ip-netns(8) binds the files in /etc/netns/NAME over those in /etc
_UTS = Path("/run/vmnet-lab")  # host name namespaces have no standard place
_CLONE_NEWNET = 0x40000000
_serial = itertools.count(1)


@frozen
class Nic:
    """A network interface as the lab made it."""

    name: str
    mac: str
    address: str
    prefix: int
    address6: str | None
    port: str
    """The other end of the cable: its name in the LAN's host."""


@define
class Namespace:
    """A namespace by name; programs run in it see its network, its host name and its /etc."""

    name: str
    label: str
    hostname: str
    nics: dict[str, Nic] = field(factory=dict)

    @property
    def path(self) -> Path:
        """The file that holds the namespace open."""
        return Path("/run/netns", self.name)

    @property
    def etc(self) -> Path:
        """The folder whose resolv.conf, hosts and hostname programs see in /etc."""
        return _ETC / self.name

    @property
    def address(self) -> str:
        """The IPv4 address of its first interface."""
        return self.nic().address

    @property
    def mac(self) -> str:
        """The MAC address of its first interface."""
        return self.nic().mac

    def nic(self, name: str = "eth0") -> Nic:
        """The interface as it was made; it may have changed since."""
        return self.nics[name]

    def run(
        self,
        *argv: Argument,
        timeout: float = 30,
        input: str | None = None,
        check: bool = True,
        env: Mapping[str, str] | None = None,
        cwd: Argument | None = None,
        pid: bool = False,
    ) -> Completed:
        """:func:`command.run` in here; *pid* makes it PID 1 of a pid namespace of its own."""
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
        pid: bool = False,
    ) -> Iterator[Process]:
        """
        :func:`command.background` in here.

        :param pid: make it PID 1 of a pid namespace of its own; :attr:`Process.pid` is then its
            number outside, so that signals reach it and not the program that started it.
        """
        with background(*self._enter(pid), *argv, env=env, cwd=cwd, pipe=pipe) as process:
            if pid:
                process.pid = until(
                    lambda: _only_child(process), 5, "the program to become PID 1", interval=0.005
                )
            yield process

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Move the calling thread in here, for code that is tested without a process of its own."""
        with Path("/proc/thread-self/ns/net").open() as home, self.path.open() as here:
            _setns(here.fileno())
            try:
                yield
            finally:
                _setns(home.fileno())

    def ip(self, *argv: str) -> Completed:
        """``ip -n NAME …``."""
        return run("ip", "-n", self.name, *argv)

    def sysctl(self, **settings: str | int) -> None:
        """Set knobs of the network; ``__`` stands for a dot: ``net__ipv4__ip_forward=1``."""
        pairs = [f"{key.replace('__', '.')}={value}" for key, value in settings.items()]
        run("sysctl", "-qw", *pairs, netns=self.name)

    def links(self) -> list[Json]:
        """``ip -j -d link``."""
        return self._list("-d", "link", "show")

    def link(self, name: str) -> Json | None:
        """One of :meth:`links`, if there is one of that name."""
        return next((link for link in self.links() if link["ifname"] == name), None)

    def addresses(self, interface: str | None = None) -> list[Json]:
        """Every address, both families, each with its interface as ``dev``."""
        return [
            {"dev": link["ifname"], **address}
            for link in self._list("address", "show")
            for address in link["addr_info"]
            if interface in (None, link["ifname"])
        ]

    def routes(self) -> list[Json]:
        """``ip -j route``, both families, the main table."""
        return [*self._list("-4", "route", "show"), *self._list("-6", "route", "show")]

    def dump(self, timeout: float = 10) -> Json:
        """A snapshot that can be compared, taken when duplicate address detection has ended."""
        until(
            lambda: not snapshot.tentative(self.name),
            timeout,
            "duplicate address detection",
            detail=lambda: f"tentative: {snapshot.tentative(self.name)}",
        )
        return snapshot.take(self.name)

    def pids(self) -> list[int]:
        """The processes that run in here."""
        return [int(word) for word in run("ip", "netns", "pids", self.name).stdout.split()]

    def _list(self, *argv: str) -> list[Json]:
        found: list[Json] = self.ip("-j", *argv).json()
        return found

    def _enter(self, pid: bool) -> tuple[str, ...]:
        enter = ("nsenter", f"--uts={_UTS / self.name}", "ip", "netns", "exec", self.name)
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
    A new namespace with ``lo`` up and nothing else.

    :param label: tells it from others in listings; its name is unique.
    :param hostname: the host name that programs see, the label unless given.
    :param resolv_conf: the text of /etc/resolv.conf; never the machine's own.
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


def _make_uts(made: Namespace, domainname: str | None) -> None:
    """A host name namespace that lives on between programs, as a container's does."""
    uts = _UTS / made.name
    uts.parent.mkdir(exist_ok=True)
    uts.touch()
    run("unshare", f"--uts={uts}", "hostname", made.hostname)
    if domainname:
        run("nsenter", f"--uts={uts}", "sysctl", "-qw", f"kernel.domainname={domainname}")


def _remove(name: str) -> None:
    """Take a namespace away, with the programs left in it; parts that are missing are no error."""
    pids = run("ip", "netns", "pids", name, check=False).stdout.split()
    for pid in map(int, pids):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    run("ip", "netns", "delete", name, check=False)
    run("umount", _UTS / name, check=False)
    (_UTS / name).unlink(missing_ok=True)
    with suppress(OSError):  # others may still be in use
        _UTS.rmdir()
    shutil.rmtree(_ETC / name, ignore_errors=True)


def _sweep() -> None:
    """Take away what an earlier run that was killed left behind; names hold their maker's pid."""
    for path in Path("/run/netns").glob("vmt-*"):
        owner = re.match(r"vmt-(\d+)-", path.name)
        if owner and not Path("/proc", owner[1]).exists():
            _remove(path.name)


def _only_child(parent: Process) -> int | None:
    """The child of ``unshare --fork`` once it runs its program; an ended one is its own answer."""
    if parent.poll() is not None:
        return parent.pid
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    with suppress(OSError, ValueError):  # either may end, or not yet exist, while we look
        child = int(children.read_text())
        if Path(f"/proc/{child}/exe").readlink() != Path(f"/proc/{parent.pid}/exe").readlink():
            return child
    return None


def _setns(fd: int) -> None:
    """setns(2), which Python's os module has from 3.12 on."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, _CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
