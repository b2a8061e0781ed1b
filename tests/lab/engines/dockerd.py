"""Run a private Docker daemon, with its own network, mounts and files.

The daemon is the machine's own, or that of Debian 13.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from attrs import define, field

from ..command import Argument, Process, background, run
from ..net.namespace import Namespace, namespace
from ..progress import step
from ..wait import WAIT, until
from . import control_groups
from .data_folder import data_folder, end_users, kill
from .debian13 import debian13

ANSWERS = ("docker", "version", "--format", "{{.Server.Version}}")
"""A command that succeeds if the client reaches a daemon."""

BIP = "10.213.0.1/24"
"""The address of the default bridge. A daemon.json that is passed to a daemon must set it."""

# End these programs if the test run is killed.
_END_WITH_PARENT = ("setpriv", "--pdeathsig", "TERM")

# Paths of the machine that the daemon must not use: it writes its key to the first, takes a
# containerd in the second for its own, and reads the user IDs of containers in the others. In its
# mount namespace, files in its folder replace them. A restarted daemon finds its data there.
_REPLACED = ("/etc/docker", "/run/containerd", "/etc/subuid", "/etc/subgid")
_REPLACE = """
folder=$1 && shift
for path in {} ; do
    if [ -e $path ]; then mount --bind $folder$path $path; fi
done
exec "$@"
""".format(" ".join(_REPLACED))
# For "userns-remap": "nobody:nogroup".
_SUBORDINATE = dict.fromkeys(("/etc/subuid", "/etc/subgid"), "nobody:100000:65536\n")


@define
class Daemon:
    """A dockerd that can be killed and restarted."""

    socket: Path
    host: Namespace
    """The namespace of the daemon's network, which has the published ports."""
    _argv: tuple[Argument, ...]
    _stack: ExitStack
    process: Process = field(init=False)

    def start(self) -> None:
        """Start the daemon, with the data that a previous daemon left."""
        self.process = self._stack.enter_context(background(*self._argv, grace=30))
        with step("starting dockerd"):
            until(
                self._answers, WAIT, "dockerd to answer", interval=0.2, detail=self.process.output
            )

    def crash(self) -> None:
        """Kill the daemon. The containers keep running."""
        self.process.signal(signal.SIGKILL)
        self.process.wait()
        # containerd ends later than the daemon, and the next daemon must not find it running.
        containerd = self.socket.parent / "exec" / "containerd" / "containerd.pid"
        pid = int(containerd.read_text())
        until(lambda: not Path(f"/proc/{pid}").exists(), WAIT, "containerd to end")

    def lose_power(self) -> None:
        """Kill the daemon, its helpers and its containers."""
        self.crash()
        folder = self.socket.parent
        end_users(folder)
        members = partial(control_groups.members, folder.name)
        until(lambda: not kill(members()), WAIT, "the containers to end")

    def _answers(self) -> bool:
        self.process.require_running()
        env = {**os.environ, "DOCKER_HOST": f"unix://{self.socket}"}
        return not run(*ANSWERS, check=False, env=env).returncode


@contextmanager
def dockerd(
    host: Namespace | None = None, config: str = "", *, current: bool = False
) -> Iterator[Daemon]:
    """
    Run a daemon until the context exits, then stop it and remove all its data.

    Its bridges and packet filter rules are in a network namespace and end with it.

    :param host: the namespace to run it in, such as a node of a cluster. The default is a new
        namespace with the machine's network access, because image builds download packages.
    :param config: the text of its daemon.json, which must then set ``bip``.
    :param current: run Docker 26 of Debian 13, instead of the machine's own. It can't crash.
    """
    with ExitStack() as stack:
        folder = stack.enter_context(data_folder())
        host = host or stack.enter_context(outward())
        socket = folder / "docker.sock"
        enter: tuple[str, ...] = ("nsenter", f"--net={host.path}")
        if current:
            enter = stack.enter_context(debian13(host, folder))
        argv = (
            *enter,
            *("unshare", "--mount", "sh", "-c", _REPLACE, "sh", _make_replacements(folder)),
            *(*_END_WITH_PARENT, "dockerd"),
            *("--host", f"unix://{socket}"),
            *("--config-file", _write_config(folder, config or "{}\n")),
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
    Make a network namespace that reaches the same hosts as the machine.

    slirp4netns carries its connections over ordinary sockets, so the machine's routes, packet
    filter and forwarding do not change. The namespace accepts no connections from outside, and
    cannot reach the machine's loopback.
    """
    resolver = Path("/etc/resolv.conf").read_text()
    with namespace("engine", resolv_conf=resolver) as made:
        options = ("--configure", "--disable-host-loopback", "--mtu=1500", "--cidr=198.18.0.0/24")
        place = ("--netns-type=path", made.path, "eth0")
        with background(*_END_WITH_PARENT, "slirp4netns", *options, *place) as slirp:

            def connected() -> bool:
                slirp.require_running()
                return bool(made.routes())

            until(connected, WAIT, "slirp4netns to connect a namespace", detail=slirp.output)
            yield made


def _make_replacements(folder: Path) -> Path:
    """Make the files and folders that replace the machine's, and return their common folder."""
    replacements = folder / "own"
    for path in map(Path, _REPLACED):
        replacement = replacements / path.relative_to("/")
        if text := _SUBORDINATE.get(str(path)):
            replacement.parent.mkdir(parents=True, exist_ok=True)
            replacement.write_text(text)
        else:
            replacement.mkdir(parents=True)
    return replacements


def _write_config(folder: Path, config: str) -> Path:
    """Write a daemon.json, which keeps the daemon from reading /etc/docker/daemon.json."""
    path = folder / "daemon.json"
    path.write_text(config)
    return path
