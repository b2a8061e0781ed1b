"""Start entry points in fresh containers, time them, and record the resulting state."""

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
from tests.lab.net.lan import Lan, lan
from tests.lab.net.namespace import Namespace
from tests.lab.wait import until

HERE = Path(__file__).parent
QEMU = HERE / "qemu.sh"
# Prints "started" and then becomes the entry point, so that entering the namespaces is not timed.
_STARTER = ("/bin/sh", "-c", 'echo started; exec "$@"', "starter")
_TOOLS = ("ip", "dnsmasq", "ethtool", "nsenter", "unshare", "setpriv", "tc", "sync")


class BenchmarkError(Exception):
    """The benchmark can't run, or the entry point fails."""


@frozen
class Entry:
    """An entry point to measure.

    :param environ: its variables in addition to the common variables
    :param nameserver: the container's nameserver
    """

    name: str
    argv: tuple[str, ...]
    environ: Mapping[str, str] = field(factory=dict)
    nameserver: str = "198.51.100.53"


@frozen
class State:
    """The state of the container after a start, in a form that can be compared.

    MACs are replaced by their role, because each entry point generates its own.
    """

    links: tuple[str, ...]
    addresses: tuple[str, ...]
    routes: tuple[str, ...]
    filters: tuple[str, ...]
    knobs: tuple[str, ...]
    dnsmasq: tuple[str, ...]
    privileges: tuple[str, ...]

    def differences(self, other: State) -> list[str]:
        """Return a line for each item that only one of the states has."""
        lines = []
        for row in ("links", "addresses", "routes", "filters", "knobs", "dnsmasq", "privileges"):
            mine, theirs = set(getattr(self, row)), set(getattr(other, row))
            lines += [f"{row}: - {line}" for line in sorted(mine - theirs)]
            lines += [f"{row}: + {line}" for line in sorted(theirs - mine)]
        return lines


@frozen
class Timing:
    """The result of a measured start.

    :param seconds: from the exec of the entry point to the first output of QEMU's stand-in
    """

    seconds: float
    state: State


@frozen
class Start:
    """A start that has reached QEMU or its stand-in."""

    container: Namespace
    process: Process
    run_dir: Path
    seconds: float

    @property
    def log(self) -> str:
        """The entry point's standard error."""
        return self.process.output()


def require_tools() -> None:
    """Check that the machine has what the benchmarks need.

    :raises BenchmarkError: something is missing
    """
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        hint = "apt-get install iproute2 dnsmasq-base ethtool util-linux"
        raise BenchmarkError(f"missing: {', '.join(missing)}: {hint}")
    if os.geteuid():
        raise BenchmarkError("the benchmarks need root for namespaces")
    if not _workers():
        raise BenchmarkError(
            "the kernel's workers are not visible here: a container needs --pid=host"
        )


def load() -> str:
    """Return a line about the machine's load: other programs make the figures worthless."""
    last, _, earlier = os.getloadavg()
    cpus = os.cpu_count()
    return f"load of the last minute {last:.1f}, of the last 15 minutes {earlier:.1f}; {cpus} CPUs"


def measure(entry: Entry) -> Timing:
    """Measure a start in a new container.

    :raises BenchmarkError: the start failed
    """
    with started(entry, QEMU) as start:
        return Timing(start.seconds, _state(start))


@contextmanager
def started(
    entry: Entry,
    qemu: Path,
    *,
    ipv6: bool = False,
    lay_out: Callable[[Lan, Namespace], object] = lambda _network, _container: None,
) -> Iterator[Start]:
    """Start an entry point in a new container, and end both after the context.

    :param qemu: a program that prints "reached" and runs until its standard input ends
    :param lay_out: adds to the container's address and default route
    """
    with tempfile.TemporaryDirectory(prefix="vmnet-bench-") as folder, _lan(ipv6) as network:
        resolv_conf = f"nameserver {entry.nameserver}\nsearch example.test\n"
        container = network.container("vm", ipv6=ipv6, hostname="bench", resolv_conf=resolv_conf)
        lay_out(network, container)
        run_dir = Path(folder, "run")
        environ = {
            "PATH": os.environ["PATH"],
            "VMNET_QEMU": str(qemu),
            "VMNET_RUN_DIR": str(run_dir),
            "VMNET_DEMO": str(_empty_demo(Path(folder, "demo"))),
            **entry.environ,
        }
        command = (*_STARTER, *entry.argv)
        with container.popen(*command, env=environ, pid=True, pipe=True) as process:
            await_word(process, "started")
            start = time.perf_counter()
            await_word(process, "reached")
            yield Start(container, process, run_dir, time.perf_counter() - start)
            process.stdin.close()
            process.wait()


@contextmanager
def _lan(ipv6: bool) -> Iterator[Lan]:
    """Create a LAN, and afterwards wait until the kernel has removed its namespaces.

    The kernel does this in the background, for some 100 ms, mostly with the lock held that every
    network change needs. Without the wait, a start would include the end of the previous start: a
    script of 30 ms would take 50 ms.
    """
    with lan(ipv6=ipv6) as network:
        yield network
    ended = "the kernel to remove the LAN"
    until(lambda: not _busy("netns"), 10, ended, interval=0.005)


def _busy(queue: str) -> bool:
    """Return whether a kernel worker is processing a queue: its name then ends in ``+queue``."""
    return any(name.endswith(f"+{queue}") for name in _workers())


def _workers() -> list[str]:
    names = []
    for path in Path("/proc").glob("[0-9]*/comm"):
        with suppress(FileNotFoundError, ProcessLookupError):
            names.append(path.read_text().strip())
    return [name for name in names if name.startswith("kworker/")]


def await_word(process: Process, word: str) -> None:
    line = process.stdout.readline().decode().strip()
    if line != word:
        output = process.output().strip()
        raise BenchmarkError(f"expected {word!r}, but the entry point printed {line!r}:\n{output}")


def _empty_demo(folder: Path) -> Path:
    """Create the demonstration guest's files, which must exist although nothing boots them."""
    folder.mkdir()
    for name in ("vmlinuz", "initrd"):
        (folder / name).touch()
    return folder


def _state(start: Start) -> State:
    container = start.container
    roles = {container.mac: "guest"}
    for number, interface in ((0, "eth0"), (1, "br0")):
        link = container.link(interface)
        roles[link["address"] if link else ""] = f"new{number}"
    return State(
        links=tuple(_link(link, roles) for link in container.links() if link["ifname"] != "lo"),
        addresses=tuple(map(_address, container.addresses())),
        routes=tuple(f"{route['dst']} dev {route['dev']}" for route in container.routes()),
        filters=tuple(_filters(container)),
        knobs=tuple(_knobs(container)),
        dnsmasq=tuple(_dnsmasq(container, start.run_dir)),
        privileges=tuple(_privileges(container)),
    )


def _link(link: Any, roles: Mapping[str, str]) -> str:
    kind = link.get("linkinfo", {}).get("info_kind", "")
    words = [link["ifname"], kind, f"mtu {link['mtu']}", f"master {link.get('master')}"]
    # A tap's own MAC is irrelevant: the guest's frames carry the guest's MAC.
    words.append("mac " + ("any" if kind == "tun" else roles.get(link["address"], "unknown")))
    words += ["up"] if "UP" in link["flags"] else ["down"]
    words.append(f"addrgenmode {link.get('inet6_addr_gen_mode')}")
    data = link.get("linkinfo", {}).get("info_data", {})
    wanted = ("forward_delay", "stp_state", "mcast_snooping", "type", "vnet_hdr")
    words += [f"{name} {data[name]}" for name in wanted if name in data]
    return " ".join(words)


def _address(address: Any) -> str:
    local = "169.254.x.x" if address["local"].startswith("169.254.") else address["local"]
    return f"{address['dev']} {local}/{address['prefixlen']}"


def _filters(container: Namespace) -> Iterator[str]:
    """Yield the position, kind and protocol of each tc filter, but not its content."""
    for interface in filter(container.link, ("eth0", "br0", "tap0")):
        for parent in ("ingress", "egress"):
            shown = container.run("tc", "-j", "filter", "show", "dev", interface, parent)
            for entry in shown.json():
                if "options" in entry:  # entries without options are heads of chains
                    yield f"{interface} {parent} {entry['kind']} protocol {entry['protocol']}"


def _knobs(container: Namespace) -> Iterator[str]:
    if container.link("br0") is None:  # a redirection
        return
    arp = container.run("sysctl", "-n", "net.ipv4.conf.br0.arp_ignore").stdout.strip()
    yield f"arp_ignore {arp}"
    for line in container.run("ethtool", "-k", "br0").stdout.splitlines():
        if line.startswith("tx-checksumming:"):
            yield line


def _dnsmasq(container: Namespace, run_dir: Path) -> Iterator[str]:
    """Yield whether dnsmasq runs, and the lines of its configuration without comments."""
    for pid in running("dnsmasq", container):
        if Path(f"/proc/{pid}/cmdline").read_text():
            yield "a running dnsmasq"
    for line in (run_dir / "dnsmasq.conf").read_text().splitlines():
        if line and not line.startswith("#"):
            yield line.replace(str(run_dir), "RUN")


def _privileges(container: Namespace) -> Iterator[str]:
    """Yield the privileges of QEMU's stand-in, from proc_pid_status(5)."""
    for pid in running(QEMU.name, container):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(("Uid", "Gid", "Cap", "NoNewPrivs")):
                yield line


def running(name: str, container: Namespace) -> list[int]:
    """Return the PIDs of a container's processes with a name."""
    found = []
    for pid in container.pids():
        with suppress(FileNotFoundError, ProcessLookupError):  # a helper's child has ended
            if Path(f"/proc/{pid}/comm").read_text().strip() == name:
                found.append(pid)
    return found


def script() -> Entry:
    """Return the shell script, which has no guard: no shell blocks signals across exec."""
    return Entry("startvm.sh", (str(HERE / "startvm.sh"),))


def vmnet(
    python: Path, name: str = "vmnet", *, guard: bool = False, precompiled: bool = True
) -> Entry:
    """Return vmnet as an entry point, without the filter on the tap, which the script lacks.

    The filter's cost is less than the difference between two runs of the same entry point.

    :param precompiled: whether to import from the file that `vmnet precompile` wrote
    """
    argv: tuple[str, ...] = (str(python.with_name("vmnet")), "run")
    if not precompiled:  # the file is valid only for its own sys.path
        program = (
            "import sys; sys.path.append('/nonexistent'); from vmnet.__main__ import main; main()"
        )
        argv = (str(python), "-I", "-c", program, "run")
    return Entry(name, argv, {"VMNET_FILTER": "off", "VMNET_GUARD": "on" if guard else "off"})
