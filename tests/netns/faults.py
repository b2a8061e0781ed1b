"""Starts in which strace(1) makes a system call fail, or kills the start after it.

strace first traces an undisturbed start to find the calls that have an effect. It then injects a
fault into one of these calls in each start (strace(1), "Tampering").
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from attrs import frozen

from tests.lab.command import Completed
from tests.lab.net.namespace import Namespace
from tests.lab.wait import WAIT
from tests.netns.conftest import VMNET

_TRACED = (
    "bind,capset,clone,clone3,dup2,epoll_create1,epoll_ctl,execve,fchmod,fsync,ioctl,listen"
    ",memfd_create,mkdir,openat,pidfd_open,prctl,rename,sendto,setgroups,setresgid,setresuid"
    ",signalfd4,socket,unlink,vfork,write"
)
_CALL = re.compile(r"(\w+)\((.*)\) += (?!\?)", re.DOTALL)
# Only calls with these arguments have an effect: Python also reads files and queries terminals, and
# the log goes to standard error.
_EFFECT = {
    "openat": re.compile(r"O_CREAT|/dev/net/tun"),
    "ioctl": re.compile(r"TUNSETIFF|SIOC|FIONCLEX"),
    # The start drops each capability from the bounding set. Test the first.
    "prctl": re.compile(r"PR_SET_|PR_CAP_AMBIENT|PR_CAPBSET_DROP, CAP_CHOWN"),
    "write": re.compile(r"^(?!2,)"),
}
_ANY = re.compile("")
# These calls change only the calling process.
_PROCESS_CALLS = (
    *("bind", "capset", "dup2", "epoll_create1", "epoll_ctl", "listen", "memfd_create"),
    *("pidfd_open", "prctl", "setgroups", "setresgid", "setresuid", "signalfd4", "socket"),
)
# PID 1 is sh, because strace as PID 1 would wait for all orphaned daemons.
_PID_1 = ("/bin/sh", "-c", '"$@"; exit $?', "pid-1")


# SOCK_DIAG_BY_FAMILY, a query for sockets; strace(1) may know it only as a number.
SOCK_DIAG = ("nlmsg_type=0x14 ", "SOCK_DIAG_BY_FAMILY")
# NFNL_SUBSYS_NFTABLES in the type of a message, as a number and by its name.
NFTABLES = ("nlmsg_type=0xa0", "NFNL_SUBSYS_NFTABLES")


@frozen
class Effect:
    """A system call of a start that has an effect.

    :param number: its position among the calls of that name
    """

    call: str
    number: int
    arguments: str

    @property
    def changes_something(self) -> bool:
        """Whether it changes anything outside the process."""
        is_query = any(word in self.arguments for word in ("SIOCGIF", "RTM_GET", *SOCK_DIAG))
        return self.call not in _PROCESS_CALLS and not is_query

    def __str__(self) -> str:
        return f"{self.call}({self.arguments[:160]}), number {self.number}"


@frozen
class Start:
    """``vmnet run`` in a container, under strace."""

    container: Namespace
    environ: Mapping[str, str]
    log: Path

    def effects(self) -> list[Effect]:
        """Return the effects of an undisturbed start up to its exec, in order."""
        ended = self._strace("-s", "64", "-e", f"trace={_TRACED}")
        assert ended.returncode == 0, ended.stderr
        return list(_parse(self.log.read_text()))

    def failing(self, effect: Effect, error: str) -> Completed:
        """Run a start in which a call fails with *error*, such as ``EIO``."""
        return self._strace("-e", f"inject={effect.call}:error={error}:when={effect.number}")

    def killed(self, effect: Effect) -> Completed:
        """Run a start that SIGKILL ends directly after a call took effect."""
        return self._strace("-e", f"inject={effect.call}:signal=KILL:when={effect.number}")

    def undisturbed(self, **settings: str) -> Completed:
        environ = {**self.environ, **settings}
        return self.container.run(*_PID_1, *VMNET, "run", env=environ, check=False, pid=True)

    def _strace(self, *options: str) -> Completed:
        # To read the process that the PID file of an earlier start names takes one more call.
        (self.log.parent / "run/dnsmasq.pid").unlink(missing_ok=True)
        strace = ("strace", "-o", str(self.log), *options)
        return self.container.run(
            *_PID_1, *strace, *VMNET, "run", env=self.environ, check=False, pid=True, timeout=WAIT
        )


def environ_of(folder: Path) -> dict[str, str]:
    """Return the environment of a start whose hypervisor exits at once."""
    folder.chmod(0o755)
    (folder / "kernel").touch()
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("VMNET_")}
    return {
        **inherited,
        "VMNET_RUN_DIR": str(folder / "run"),
        "VMNET_DISK_STATE": str(folder / "state"),
        "VMNET_QEMU": "/bin/true",
        "VMNET_KERNEL": str(folder / "kernel"),
        # Writing bytecode would change the system calls between runs.
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def _parse(log: str) -> Iterator[Effect]:
    numbers: Counter[str] = Counter()
    for line in log.splitlines():
        if match := _CALL.match(line):
            call, arguments = match.groups()
            if call == "execve" and "vmnet" in arguments.split("]")[0]:
                continue  # the exec of Python itself, which strace does not count
            numbers[call] += 1
            if _EFFECT.get(call, _ANY).search(arguments):
                yield Effect(call, numbers[call], arguments)
