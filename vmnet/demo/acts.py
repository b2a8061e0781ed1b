"""The demonstration itself: six steps, each with what must be true at its end."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

from vmnet.demo import seen, tools
from vmnet.demo.errors import DemoError
from vmnet.demo.machine import Machine, machine
from vmnet.demo.network import Namespace, network
from vmnet.demo.seen import Seen
from vmnet.demo.story import Stopwatch, Story

# Bounds, not expectations: an emulated CPU on a busy machine needs a few seconds for each.
_TAKEOVER_SECONDS = 20.0
_BOOT_SECONDS = 120.0
_ANSWER_SECONDS = 20.0
_STOP_SECONDS = 40.0

_SHUTDOWN = "vmnet-guest: power button, shutting down"


@frozen
class Takeover:
    """The container's network after the start.

    :param pid1: the program that is PID 1
    :param ports: of the bridge
    :param left: the addresses that eth0 still has
    """

    pid1: str
    ports: tuple[str, ...]
    left: tuple[str, ...]
    log: tuple[str, ...]
    seconds: float


@frozen
class Boot:
    """:param lease: the guest's own line about it"""

    lease: str
    seconds: float


@frozen
class Visit:
    """What the host outside got at the container's old address."""

    ping_ms: float
    title: str
    guest: Seen


@frozen
class End:
    """:param status: the exit status of PID 1"""

    status: int
    seconds: float


@frozen
class Facts:
    """All that the demonstration has found, in its order."""

    container: Seen
    takeover: Takeover
    boot: Boot
    visit: Visit
    end: End
    seconds: float


def play(story: Story, environ: Mapping[str, str]) -> Facts:
    """Run the demonstration.

    :raises DemoError: something was not as it must be
    """
    tools.require()
    watch = Stopwatch()
    with tempfile.TemporaryDirectory(prefix="vmnet-demo-") as folder, network() as made:
        Path(folder).chmod(0o755)  # QEMU need not be root
        container = _container(story, made.container)
        with machine(made.container, environ, Path(folder)) as running:
            takeover = _take_over(story, running, made.container)
            boot = _boot(story, running, container)
            visit = _visit(story, running, made.host, container)
            end = _stop(story, running)
    story.done("the namespaces and everything in them are gone")
    return Facts(container, takeover, boot, visit, end, watch.seconds)


def _container(story: Story, container: Namespace) -> Seen:
    story.chapter("A container on the network, as Docker lays it out")
    own = seen.of_container(container)
    story.say(f"eth0 has {own.address}, MAC {own.mac}, MTU {own.mtu}")
    story.say(f"the default route goes via {own.gateway}, on the host's bridge docker0")
    story.say(f"its host name is {own.hostname}, its nameserver {own.nameserver}")
    return own


def _take_over(story: Story, running: Machine, container: Namespace) -> Takeover:
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
    story.done(f"{pid1} is PID 1 now, by a plain exec ({seconds:.1f} s)")

    story.chapter("The container's network is bare: what it owned is the guest's")
    left = tuple(one["local"] for one in container.link("eth0")["addr_info"])
    links = container.show("link", "show")
    ports = tuple(sorted(one["ifname"] for one in links if one.get("master") == "br0"))
    if ports != ("eth0", "tap0"):
        raise running.failure(f"the bridge br0 must connect eth0 and tap0, but has {ports}")
    if left:
        raise running.failure(f"eth0 must have no address any more, but has {', '.join(left)}")
    bridge, uplink = container.link("br0"), container.link("eth0")
    own = ", ".join(one["local"] for one in bridge["addr_info"])
    story.done(f"the bridge br0 connects {' and '.join(ports)}")
    story.done(f"eth0 has no address, and the new MAC {uplink['address']}")
    story.done(f"br0 has addresses of its own: {own}, MAC {bridge['address']}")
    return Takeover(pid1, ports, left, log, seconds)


def _boot(story: Story, running: Machine, container: Seen) -> Boot:
    story.chapter("The guest boots")
    with story.waiting("the guest boots") as watch:
        welcome = running.await_(
            "the guest is up",
            _BOOT_SECONDS,
            lambda: running.lines("The container's address is mine now: "),
        )
        seconds = watch.seconds
    lease = next(iter(running.lines("vmnet-guest: eth0 ")), "")
    story.quote([lease, *welcome])
    if container.address not in lease.split():
        raise running.failure(f"the guest must get {container.address}, but says: {lease}")
    story.done(f"dnsmasq gave it the container's address ({seconds:.1f} s)")
    return Boot(lease, seconds)


def _visit(story: Story, running: Machine, host: Namespace, container: Seen) -> Visit:
    story.chapter("The host outside finds the guest where the container was")
    address = container.address.partition("/")[0]
    ping_ms = _ping(running, host, address)
    story.done(f"ping {address}: {ping_ms:.1f} ms")
    page = _get(running, host, f"http://{address}/")
    title = next(iter(re.findall(r"<title>(.*?)</title>", page)), "")
    story.done(f"curl http://{address}/: “{title}”")
    url = f"http://{address}/cgi-bin/identity"
    guest = seen.of_guest(tools.parse(_get(running, host, url)))
    story.done(f"curl {url}: what the guest says of itself")
    story.say()
    different = [name for name, had, has in container.rows(guest) if had != has]
    if different:
        told = "; ".join(f"{name}: {a} is now {b}" for name, a, b in container.rows(guest))
        raise running.failure(f"the guest must be what the container was ({told})")
    story.table(("", "the container had", "the guest has"), list(container.rows(guest)))
    return Visit(ping_ms, title, guest)


def _ping(running: Machine, host: Namespace, address: str) -> float:
    deadline = str(int(_ANSWER_SECONDS))
    # Until one answer has come, or the deadline.
    command = host.command("ping", "-c", "1", "-w", deadline, "-n", address)
    answer = tools.ask(*command, seconds=_ANSWER_SECONDS + 5)
    times = re.search(r"time=([\d.]+) ms", answer.stdout)
    if answer.status != 0 or times is None:
        raise running.failure(f"{address} does not answer ping: {answer.stdout}{answer.stderr}")
    return float(times[1])


def _get(running: Machine, host: Namespace, url: str) -> str:
    options = ("--fail", "--silent", "--show-error", "--noproxy", "*")
    limit = ("--max-time", str(_ANSWER_SECONDS))
    answer = tools.ask(*host.command("curl", *options, *limit, url), seconds=_ANSWER_SECONDS + 5)
    if answer.status != 0:
        raise running.failure(f"{url} does not answer: {answer.stderr.strip()}")
    return answer.stdout


def _stop(story: Story, running: Machine) -> End:
    story.chapter("`docker stop`: SIGTERM to PID 1")
    before = len(running.console())
    with story.waiting("the guest shuts down") as watch:
        status = running.stop(_STOP_SECONDS)
        seconds = watch.seconds
    said = [line for line in running.console()[before:].splitlines() if line.startswith("vmnet")]
    story.quote(said)
    if _SHUTDOWN not in said:
        raise running.failure("the guest was not shut down, but cut off")
    if status != 0:
        raise running.failure(f"PID 1 must end with status 0, not {status}")
    story.done(f"the guest shut down by itself, and QEMU ended with status 0 ({seconds:.1f} s)")
    return End(status, seconds)


def explain(error: DemoError) -> str:
    """The excerpt of an error, for a person."""
    return "\n".join(f"{'':3}│ {line}" for line in error.excerpt.splitlines())
