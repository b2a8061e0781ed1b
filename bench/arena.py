"""A fresh container for each start, the clock, and what the start has made of the container."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from attrs import field, frozen

from tests.lab.command import Process
from tests.lab.namespace import Namespace
from tests.lab.netns import Lan, lan
from tests.lab.wait import until

HERE = Path(__file__).parent
QEMU = HERE / "qemu.sh"
# Says "started" in the very process that then becomes the entry point: all that comes before, the
# entering of namespaces, is not on the clock.
_STARTER = ("/bin/sh", "-c", 'echo started; exec "$@"', "starter")
_TOOLS = ("ip", "dnsmasq", "ethtool", "nsenter", "unshare", "setpriv", "tc", "sync")


class BenchmarkError(Exception):
    """The benchmark can't be run, or what it measures does not do its work."""


@frozen
class Entry:
    """An entry point to measure.

    :param environ: what it finds in its environment beyond the common variables
    """

    name: str
    argv: tuple[str, ...]
    environ: Mapping[str, str] = field(factory=dict)


@frozen
class Made:
    """What a start has made of the container, in a form that two entry points can share.

    MACs are told apart by their role, since each entry point invents its own.
    """

    links: tuple[str, ...]
    addresses: tuple[str, ...]
    routes: tuple[str, ...]
    filters: tuple[str, ...]
    knobs: tuple[str, ...]
    dnsmasq: tuple[str, ...]
    privileges: tuple[str, ...]

    def differences(self, other: Made) -> list[str]:
        """One line for each thing that only one of the two has."""
        lines = []
        for row in ("links", "addresses", "routes", "filters", "knobs", "dnsmasq", "privileges"):
            mine, theirs = set(getattr(self, row)), set(getattr(other, row))
            lines += [f"{row}: - {line}" for line in sorted(mine - theirs)]
            lines += [f"{row}: + {line}" for line in sorted(theirs - mine)]
        return lines


@frozen
class Timing:
    """:param seconds: from the exec of the entry point to the first word of what stands for QEMU"""

    seconds: float
    made: Made


@frozen
class Start:
    """A start that has reached QEMU, or what stands for it."""

    container: Namespace
    process: Process
    run_dir: Path
    seconds: float

    @property
    def said(self) -> str:
        """Its standard error."""
        return self.process.output()


def require_tools() -> None:
    """:raises BenchmarkError: the machine lacks something"""
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        hint = "apt-get install iproute2 dnsmasq-base ethtool util-linux"
        raise BenchmarkError(f"missing: {', '.join(missing)}: {hint}")
    if os.geteuid():
        raise BenchmarkError("namespaces need root")
    if not _workers():
        raise BenchmarkError(
            "the kernel's workers can't be seen here: a container needs --pid=host"
        )


def measure(entry: Entry) -> Timing:
    """One start in a container of its own.

    :raises BenchmarkError: it failed
    """
    with started(entry, QEMU) as start:
        return Timing(start.seconds, _look(start))


@contextmanager
def started(
    entry: Entry,
    qemu: Path,
    *,
    ipv6: bool = False,
    nameserver: str = "198.51.100.53",
    lay_out: Callable[[Lan, Namespace], object] = lambda _network, _container: None,
) -> Iterator[Start]:
    """Start an entry point in a container of its own, and end both.

    :param qemu: a program that says "reached" and runs until its standard input ends
    :param lay_out: gives the container more than an address and a default route
    """
    with tempfile.TemporaryDirectory(prefix="vmnet-bench-") as folder, _lan(ipv6) as network:
        resolv_conf = f"nameserver {nameserver}\nsearch example.test\n"
        container = network.container("vm", ipv6=ipv6, hostname="bench", resolv_conf=resolv_conf)
        lay_out(network, container)
        run_dir = Path(folder, "run")
        environ = {
            "PATH": os.environ["PATH"],
            "VMNET_QEMU": str(qemu),
            "VMNET_RUN_DIR": str(run_dir),
            "VMNET_DEMO": str(_nothing_to_boot(Path(folder, "demo"))),
            **entry.environ,
        }
        command = (*_STARTER, *entry.argv)
        with container.popen(*command, env=environ, pid=True, pipe=True) as process:
            _await(process, "started")
            start = time.perf_counter()
            _await(process, "reached")
            yield Start(container, process, run_dir, time.perf_counter() - start)
            process.stdin.close()
            process.wait()


@contextmanager
def _lan(ipv6: bool) -> Iterator[Lan]:
    """A LAN, and afterwards the wait until the kernel has taken its namespaces apart.

    It does so in the background, for some 100 ms, and mostly with the lock held that every change
    to a network needs. Whatever comes to its changes early would be measured with the end of the
    start before it: a script of 30 ms takes 50 then.
    """
    with lan(ipv6=ipv6) as network:
        yield network
    ended = "the kernel to take a LAN apart"
    until(lambda: not _busy("netns"), 10, ended, interval=0.005)


def _busy(queue: str) -> bool:
    """Whether a worker of the kernel is at work on that queue: then its name ends in ``+queue``."""
    return any(name.endswith(f"+{queue}") for name in _workers())


def _workers() -> list[str]:
    names = []
    for path in Path("/proc").glob("[0-9]*/comm"):
        with suppress(FileNotFoundError, ProcessLookupError):
            names.append(path.read_text().strip())
    return [name for name in names if name.startswith("kworker/")]


def _await(process: Process, word: str) -> None:
    line = process.stdout.readline().decode().strip()
    if line != word:
        said = process.output().strip()
        raise BenchmarkError(f"expected {word!r}, but the entry point said {line!r}:\n{said}")


def _nothing_to_boot(folder: Path) -> Path:
    """Nothing boots here, but the files have to exist."""
    folder.mkdir()
    for name in ("vmlinuz", "initrd"):
        (folder / name).touch()
    return folder


def _look(start: Start) -> Made:
    container = start.container
    roles = {container.mac: "guest"}
    for number, interface in ((0, "eth0"), (1, "br0")):
        link = container.link(interface)
        roles[link["address"] if link else ""] = f"new{number}"
    return Made(
        links=tuple(_link(link, roles) for link in container.links() if link["ifname"] != "lo"),
        addresses=tuple(map(_address, container.addresses())),
        routes=tuple(f"{one['dst']} dev {one['dev']}" for one in container.routes()),
        filters=tuple(_filters(container)),
        knobs=tuple(_knobs(container)),
        dnsmasq=tuple(_dnsmasq(container, start.run_dir)),
        privileges=tuple(_privileges(container)),
    )


def _link(link: Any, roles: Mapping[str, str]) -> str:
    kind = link.get("linkinfo", {}).get("info_kind", "")
    words = [link["ifname"], kind, f"mtu {link['mtu']}", f"master {link.get('master')}"]
    # A tap's own MAC is nobody's business: the guest's frames carry the guest's.
    words.append("mac " + ("any" if kind == "tun" else roles.get(link["address"], "unknown")))
    words += ["up"] if "UP" in link["flags"] else ["down"]
    words.append(f"addrgenmode {link.get('inet6_addr_gen_mode')}")
    data = link.get("linkinfo", {}).get("info_data", {})
    wanted = ("forward_delay", "stp_state", "mcast_snooping", "type", "vnet_hdr")
    words += [f"{name} {data[name]}" for name in wanted if name in data]
    return " ".join(words)


def _address(one: Any) -> str:
    local = "169.254.x.x" if one["local"].startswith("169.254.") else one["local"]
    return f"{one['dev']} {local}/{one['prefixlen']}"


def _filters(container: Namespace) -> Iterator[str]:
    """Which tc filters sit where; what they hold, such as a BPF program, is theirs."""
    for interface in ("eth0", "br0", "tap0"):
        for parent in ("ingress", "egress"):
            shown = container.run("tc", "-j", "filter", "show", "dev", interface, parent)
            for one in shown.json():
                if "options" in one:  # the others are the heads of chains
                    yield f"{interface} {parent} {one['kind']} protocol {one['protocol']}"


def _knobs(container: Namespace) -> Iterator[str]:
    arp = container.run("sysctl", "-n", "net.ipv4.conf.br0.arp_ignore").stdout.strip()
    yield f"arp_ignore {arp}"
    for line in container.run("ethtool", "-k", "br0").stdout.splitlines():
        if line.startswith("tx-checksumming:"):
            yield line


def _dnsmasq(container: Namespace, run_dir: Path) -> Iterator[str]:
    """Whether it runs, and its configuration without comments, whatever the order of its lines."""
    for pid in running("dnsmasq", container):
        if Path(f"/proc/{pid}/cmdline").read_text():
            yield "a running dnsmasq"
    for line in (run_dir / "dnsmasq.conf").read_text().splitlines():
        if line and not line.startswith("#"):
            yield line.replace(str(run_dir), "RUN")


def _privileges(container: Namespace) -> Iterator[str]:
    """What stands for QEMU may do, from proc_pid_status(5)."""
    for pid in running(QEMU.name, container):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(("Uid", "Gid", "Cap", "NoNewPrivs")):
                yield line


def running(name: str, container: Namespace) -> list[int]:
    """The processes of that name in a container."""
    return [
        pid for pid in container.pids() if Path(f"/proc/{pid}/comm").read_text().strip() == name
    ]


def script() -> Entry:
    """It has no guard: no shell blocks signals across exec."""
    return Entry("startvm.sh", (str(HERE / "startvm.sh"),))


def vmnet(
    python: Path, name: str = "vmnet", *, guard: bool = False, precompiled: bool = True
) -> Entry:
    """Doing what the script does, so without the filter on the tap.

    Its cost is less than what two runs of one thing differ by.

    :param precompiled: import from the file that `vmnet precompile` made
    """
    argv: tuple[str, ...] = (str(python.with_name("vmnet")), "run")
    if not precompiled:  # with one folder more on its path it is not that file's interpreter
        more = (
            "import sys; sys.path.append('/nonexistent'); from vmnet.__main__ import main; main()"
        )
        argv = (str(python), "-I", "-c", more, "run")
    return Entry(name, argv, {"VMNET_FILTER": "off", "VMNET_GUARD": "on" if guard else "off"})
