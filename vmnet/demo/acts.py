"""The six steps of the demonstration. Each checks its result."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

from vmnet.demo import observed, tools
from vmnet.demo.entry_point import EntryPoint, entry_point
from vmnet.demo.errors import DemoError
from vmnet.demo.network import Namespace, network
from vmnet.demo.observed import Observed
from vmnet.demo.story import Stopwatch, Story

# Upper limits: even with an emulated CPU on a busy machine, each step takes a few seconds.
_TAKEOVER_SECONDS = 60.0
_BOOT_SECONDS = 120.0
_ANSWER_SECONDS = 60.0
_STOP_SECONDS = 40.0

_SHUTDOWN = "vmnet-guest: power button, shutting down"


@frozen
class Takeover:
    """The container's network after the start.

    :param pid1: the program that is PID 1
    :param ports: the bridge's ports
    :param left: the remaining addresses of eth0
    """

    pid1: str
    ports: tuple[str, ...]
    left: tuple[str, ...]
    log: tuple[str, ...]
    seconds: float


@frozen
class Boot:
    """The guest's start.

    :param lease: the guest's line about its DHCP lease
    """

    lease: str
    seconds: float


@frozen
class Visit:
    """The answers that the host gets at the container's address."""

    ping_ms: float
    title: str
    guest: Observed


@frozen
class End:
    """The end of the machine.

    :param status: the exit status of PID 1
    """

    status: int
    seconds: float


@frozen
class Facts:
    """The results of all steps, in their order."""

    container: Observed
    takeover: Takeover
    boot: Boot
    visit: Visit
    end: End
    seconds: float


def play(story: Story, environ: Mapping[str, str]) -> Facts:
    """Run the demonstration.

    :raises DemoError: a check failed
    """
    tools.require()
    watch = Stopwatch()
    with tempfile.TemporaryDirectory(prefix="vmnet-demo-") as folder, network() as made:
        Path(folder).chmod(0o755)  # QEMU may run as another user
        container = _container(story, made.container)
        with entry_point(made.container, environ, Path(folder)) as running:
            takeover = _take_over(story, running, made.container)
            boot = _boot(story, running, container)
            visit = _visit(story, running, made.host, container)
            end = _stop(story, running)
    story.done("the namespaces and everything in them are gone")
    return Facts(container, takeover, boot, visit, end, watch.seconds)


def _container(story: Story, container: Namespace) -> Observed:
    story.chapter("A container on the network, as Docker lays it out")
    own = observed.of_container(container)
    story.say(f"eth0 has {own.address}, MAC {own.mac}, MTU {own.mtu}")
    story.say(f"its default route is via {own.gateway}, on the host's bridge docker0")
    story.say(f"its host name is {own.hostname}, and its nameserver {own.nameserver}")
    return own


def _take_over(story: Story, running: EntryPoint, container: Namespace) -> Takeover:
    story.chapter("vmnet takes it over: `vmnet run` is the container's entry point")
    with story.waiting("vmnet prepares the network") as watch:
        pid1 = running.await_(
            "QEMU is PID 1",
            _TAKEOVER_SECONDS,
            lambda: name if "qemu" in (name := running.program()) else None,
        )
        seconds = watch.seconds
    log = tuple(running.lines("vmnet: "))
    story.quote(log)
    story.done(f"PID 1 is now {pid1}, after an exec ({seconds:.1f} s)")

    story.chapter("The container keeps no address: its identity is for the guest")
    left = tuple(address["local"] for address in container.link("eth0")["addr_info"])
    links = container.show("link", "show")
    ports = tuple(sorted(link["ifname"] for link in links if link.get("master") == "br0"))
    if ports != ("eth0", "tap0"):
        raise running.failure(f"the bridge br0 must connect eth0 and tap0, but has {ports}")
    if left:
        raise running.failure(f"eth0 must have no address, but has {', '.join(left)}")
    bridge, uplink = container.link("br0"), container.link("eth0")
    own = ", ".join(address["local"] for address in bridge["addr_info"])
    story.done(f"the bridge br0 connects {' and '.join(ports)}")
    story.done(f"eth0 has no address, and the new MAC {uplink['address']}")
    story.done(f"br0 has addresses of its own: {own}, MAC {bridge['address']}")
    return Takeover(pid1, ports, left, log, seconds)


def _boot(story: Story, running: EntryPoint, container: Observed) -> Boot:
    story.chapter("The guest boots")
    with story.waiting("the guest boots") as watch:
        welcome = running.await_(
            "the guest is up",
            _BOOT_SECONDS,
            lambda: running.lines("This guest now has the container's address: "),
        )
        seconds = watch.seconds
    lease = next(iter(running.lines("vmnet-guest: eth0 ")), "")
    story.quote([lease, *welcome])
    if container.address not in lease.split():
        raise running.failure(f"the guest must get {container.address}, but prints: {lease}")
    story.done(f"dnsmasq gave it the container's address ({seconds:.1f} s)")
    return Boot(lease, seconds)


def _visit(story: Story, running: EntryPoint, host: Namespace, container: Observed) -> Visit:
    story.chapter("The host reaches the guest at the container's address")
    address = container.address.partition("/")[0]
    ping_ms = _ping(running, host, address)
    story.done(f"ping {address}: {ping_ms:.1f} ms")
    page = _get(running, host, f"http://{address}/")
    title = next(iter(re.findall(r"<title>(.*?)</title>", page)), "")
    story.done(f"curl http://{address}/: “{title}”")
    url = f"http://{address}/cgi-bin/identity"
    guest = observed.of_guest(tools.parse(_get(running, host, url)))
    story.done(f"curl {url}: the guest's own report")
    story.say()
    different = [name for name, had, has in container.rows(guest) if had != has]
    if different:
        rows = "; ".join(f"{name}: {had}, now {has}" for name, had, has in container.rows(guest))
        raise running.failure(f"the guest must have what the container had ({rows})")
    story.table(("", "the container had", "the guest has"), list(container.rows(guest)))
    return Visit(ping_ms, title, guest)


def _ping(running: EntryPoint, host: Namespace, address: str) -> float:
    deadline = str(int(_ANSWER_SECONDS))
    # -w: until an answer arrives or the deadline passes.
    command = host.command("ping", "-c", "1", "-w", deadline, "-n", address)
    answer = tools.ask(*command, seconds=_ANSWER_SECONDS + 5)
    times = re.search(r"time=([\d.]+) ms", answer.stdout)
    if answer.status != 0 or times is None:
        raise running.failure(f"{address} does not answer ping: {answer.stdout}{answer.stderr}")
    return float(times[1])


def _get(running: EntryPoint, host: Namespace, url: str) -> str:
    options = ("--fail", "--silent", "--show-error", "--noproxy", "*")
    limit = ("--max-time", str(_ANSWER_SECONDS))
    answer = tools.ask(*host.command("curl", *options, *limit, url), seconds=_ANSWER_SECONDS + 5)
    if answer.status != 0:
        raise running.failure(f"{url} does not answer: {answer.stderr.strip()}")
    return answer.stdout


def _stop(story: Story, running: EntryPoint) -> End:
    story.chapter("`docker stop`: SIGTERM to PID 1")
    before = len(running.console())
    with story.waiting("the guest shuts down") as watch:
        status = running.stop(_STOP_SECONDS)
        seconds = watch.seconds
    output = running.console()[before:].splitlines()
    lines = [line for line in output if line.startswith("vmnet")]
    story.quote(lines)
    if _SHUTDOWN not in lines:
        raise running.failure("the guest ended without a shutdown")
    if status != 0:
        raise running.failure(f"PID 1 must end with status 0, not {status}")
    story.done(f"the guest shut down by itself, and QEMU ended with status 0 ({seconds:.1f} s)")
    return End(status, seconds)


def explain(error: DemoError) -> str:
    """Format the excerpt of an error."""
    return "\n".join(f"{'':3}│ {line}" for line in error.excerpt.splitlines())
