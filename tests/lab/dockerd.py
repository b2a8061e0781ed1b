"""A Docker daemon of our own: its network, mounts and files are apart from the machine's."""

from __future__ import annotations

import os
import re
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from attrs import define, field

from .command import Argument, Process, background, run
from .namespace import Namespace, namespace
from .progress import step
from .wait import until

ANSWERS = ("docker", "version", "--format", "{{.Server.Version}}")
"""A command that succeeds when the client reaches a daemon."""

BIP = "10.213.0.1/24"
"""The address of its first bridge, for a daemon.json; what is given in one is not given twice."""

# A test run that is killed takes these programs along.
_TIED = ("setpriv", "--pdeathsig", "TERM")

# The daemon's root has to be on a real disk for overlay2; /tmp may be a tmpfs.
_DISK = Path("/var/tmp")
_PREFIX = "vmnet-engine-"

# In a private mount namespace these would still be the machine's own: the daemon writes its key to
# the first, takes a containerd in the second for its own, and the others give numbers to users.
# Ours are in its folder, since a daemon that is started again must find what it left there.
_HIDDEN = ("/etc/docker", "/run/containerd", "/etc/subuid", "/etc/subgid")
_HIDE = """
mine=$1 && shift
for path in {} ; do
    if [ -e $path ]; then mount --bind $mine$path $path; fi
done
exec "$@"
""".format(" ".join(_HIDDEN))
# For "userns-remap": "nobody:nogroup".
_SUBORDINATE = dict.fromkeys(("/etc/subuid", "/etc/subgid"), "nobody:100000:65536\n")


@define
class Daemon:
    """A dockerd, which can be killed and started again."""

    socket: Path
    host: Namespace
    """Its network: the host that published ports are on."""
    _argv: tuple[Argument, ...]
    _stack: ExitStack
    process: Process = field(init=False)

    def start(self) -> None:
        """Start it, on whatever the last one left."""
        self.process = self._stack.enter_context(background(*self._argv, grace=30))
        with step("starting dockerd"):
            until(self._answers, 60, "dockerd to answer", interval=0.2, detail=self.process.output)

    def crash(self) -> None:
        """SIGKILL; what it started lives on."""
        self.process.signal(signal.SIGKILL)
        self.process.wait()
        # It dies with the daemon, but not at once, and the next daemon takes it for a living one.
        containerd = self.socket.parent / "exec" / "containerd" / "containerd.pid"
        pid = int(containerd.read_text())
        until(lambda: not Path(f"/proc/{pid}").exists(), 10, "containerd to end")

    def lose_power(self) -> None:
        """SIGKILL for it and all that it started, its containers included."""
        self.crash()
        folder = self.socket.parent
        until(lambda: not _kill_users(folder), 10, "the daemon's helpers to end")
        until(lambda: not _kill_members(folder.name), 10, "the containers to end")

    def _answers(self) -> bool:
        self.process.require_running()
        env = {**os.environ, "DOCKER_HOST": f"unix://{self.socket}"}
        return not run(*ANSWERS, check=False, env=env).returncode


@contextmanager
def dockerd(host: Namespace | None = None, config: str = "") -> Iterator[Daemon]:
    """
    Start a daemon, and at the end stop it and remove every trace of it.

    Its bridges and packet filter rules are in a network namespace and end with it.

    :param host: the network to run it in, such as a node of a cluster; unless given, one that
        reaches what the machine reaches (image builds fetch packages).
    :param config: the text of its daemon.json, which then tells its bridge.
    """
    _sweep()
    with ExitStack() as stack:
        folder = stack.enter_context(_folder())
        host = host or stack.enter_context(outward())
        socket = folder / "docker.sock"
        argv = (
            *("nsenter", f"--net={host.path}"),
            *("unshare", "--mount", "sh", "-c", _HIDE, "sh", _hiding_place(folder)),
            *(*_TIED, "dockerd"),
            *("--host", f"unix://{socket}"),
            *("--config-file", _written(folder, config or "{}\n")),
            *("--data-root", folder / "data"),
            *("--exec-root", folder / "exec"),
            *("--pidfile", folder / "pid"),
            *("--cgroup-parent", f"/{folder.name}"),
            *(() if config else ("--bip", BIP)),
            *("--default-address-pool", "base=10.213.0.0/16,size=24"),
        )
        daemon = Daemon(socket, host, argv, stack)
        daemon.start()
        yield daemon


@contextmanager
def outward() -> Iterator[Namespace]:
    """
    A network namespace that reaches what the machine reaches, as its user would.

    slirp4netns carries its connections over ordinary sockets, so the machine's routes, packet
    filter and forwarding are left alone. Nothing can come in, nor reach the machine's loopback.
    """
    resolver = Path("/etc/resolv.conf").read_text()
    with namespace("engine", resolv_conf=resolver) as made:
        options = ("--configure", "--disable-host-loopback", "--mtu=1500", "--cidr=198.18.0.0/24")
        place = ("--netns-type=path", made.path, "eth0")
        with background(*_TIED, "slirp4netns", *options, *place) as slirp:

            def connected() -> bool:
                slirp.require_running()
                return bool(made.routes())

            until(connected, 10, "slirp4netns to connect a namespace", detail=slirp.output)
            yield made


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=_DISK))
    folder.chmod(0o711)  # root of a user namespace goes through it
    try:
        yield folder
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    """End what a daemon may have left running, and remove its files and control groups."""
    with suppress(AssertionError):
        until(lambda: not _kill_users(folder), 10, "the daemon's helpers to end")
    for group in Path("/sys/fs/cgroup").glob(f"**/{folder.name}"):
        for path, _, _ in os.walk(group, topdown=False):
            with suppress(OSError):  # an empty group can go, another tells of a leftover
                Path(path).rmdir()
    shutil.rmtree(folder, ignore_errors=True)


def _hiding_place(folder: Path) -> Path:
    place = folder / "own"
    for path in map(Path, _HIDDEN):
        own = place / path.relative_to("/")
        if text := _SUBORDINATE.get(str(path)):
            own.parent.mkdir(parents=True, exist_ok=True)
            own.write_text(text)
        else:
            own.mkdir(parents=True)
    return place


def _kill_members(group: str) -> list[int]:
    """Kill the processes in control groups of a name and below."""
    found = set()
    for procs in Path("/sys/fs/cgroup").glob(f"**/{group}/**/cgroup.procs"):
        with suppress(OSError):
            found |= set(map(int, procs.read_text().split()))
    for pid in found:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return sorted(found)


def _kill_users(folder: Path) -> list[int]:
    """Kill the processes that name the folder: containerd and the shims of containers."""
    found = []
    for cmdline in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if os.fsencode(folder) in cmdline.read_bytes():
                found.append(int(cmdline.parent.name))
                os.kill(found[-1], signal.SIGKILL)
    return found


def _sweep() -> None:
    """Remove what an earlier run that was killed left behind; names hold their maker's pid."""
    for folder in _DISK.glob(f"{_PREFIX}*"):
        owner = re.match(rf"{_PREFIX}(\d+)-", folder.name)
        if owner and not Path("/proc", owner[1]).exists():
            _remove(folder)


def _written(folder: Path, config: str) -> Path:
    """The machine's own /etc/docker/daemon.json is not for us."""
    path = folder / "daemon.json"
    path.write_text(config)
    return path
