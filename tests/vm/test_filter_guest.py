"""A guest that forges its addresses or plays a server, from inside the guest."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab.console import Console, on_process
from tests.lab.images.initrd import appended, program
from tests.lab.net.lan import Lan
from tests.lab.net.namespace import Namespace
from tests.lab.net.pinging import await_answer
from tests.lab.wait import WAIT, until
from tests.vm.conftest import PROMPT_LINE, VMNET, DemoVm, await_shell

pytestmark = pytest.mark.vm

ROGUE_MAC = "02:42:ac:1e:01:99"


@contextmanager
def shell(container: Namespace, machine: DemoVm, *up: str, **settings: str) -> Iterator[Console]:
    """Boot a guest, and yield its console at the prompt of :func:`await_shell`."""
    environ = {**machine.environ, **settings}
    with (
        container.popen(*VMNET, "run", env=environ, pid=True, pipe=True) as process,
        on_process(process) as console,
    ):
        await_shell(console, *up)
        yield console


def received(console: Console, command: str) -> int:
    """Return how many answers busybox's ping or arping reports at its end."""
    output = console.command(command, PROMPT_LINE)
    found = re.search(r"(\d+) packets received|Received (\d+) ", output)
    assert found, output
    return int(found[1] or found[2])


def await_answer_in(console: Console, to: str) -> None:
    """Await an answer to the guest's pings. Its kernel asks only three times for a neighbour.

    :param to: the last arguments of ping
    """
    ping = f"ping -c1 -W5 {to}"
    until(lambda: received(console, ping) == 1, WAIT, f"an answer to the guest: {ping}")


def mac_of(station: Namespace, address: str) -> str:
    """Return the MAC that a station knows for an address; empty if it knows none."""
    known = station.ip("-j", "neighbour", "show", address).json()
    return str(known[0].get("lladdr", "")) if known else ""


@pytest.mark.parametrize("filtering", ["on", "off"])
def test_a_guest_that_impersonates_a_neighbour(
    network: Lan, machine: DemoVm, filtering: str
) -> None:
    """Without the filter, each of these attacks must succeed."""
    web, victim, station = network.container("web"), network.station("victim"), network.station()
    succeeds = filtering == "off"
    seconds = _seconds(succeeds)
    with shell(web, machine, VMNET_FILTER=filtering) as guest:
        await_answer_in(guest, station.address)
        # Now, because the kernel may forget a neighbour that it has not used for a minute. And from
        # the victim: the kernel that answers checks its neighbour five seconds later. With such a
        # packet, the victim would tell the station its MAC again.
        await_answer(victim, station.address)
        assert mac_of(station, victim.address) == victim.mac

        guest.command(f"ip address add {victim.address}/32 dev eth0", PROMPT_LINE)
        announce = f"arping -U -c2 -I eth0 -s {victim.address} {victim.address}"
        guest.command(announce, PROMPT_LINE)
        # The answer shows that the station has received the announcement, which came before it.
        await_answer_in(guest, station.address)
        assert (mac_of(station, victim.address) == web.mac) == succeeds
        victims = f"-I {victim.address} {network.gateway}"
        if succeeds:
            await_answer_in(guest, victims)
        else:
            assert received(guest, f"ping -c1 -W{seconds} {victims}") == 0
        guest.command(f"ip address delete {victim.address}/32 dev eth0", PROMPT_LINE)

        guest.command(f"ip link set eth0 address {ROGUE_MAC}", PROMPT_LINE)
        assert (received(guest, f"arping -f -w{seconds} -I eth0 {station.address}") > 0) == succeeds
        assert (mac_of(station, web.address) == ROGUE_MAC) == succeeds
        guest.command(f"ip link set eth0 address {web.mac}", PROMPT_LINE)
        await_answer_in(guest, station.address)


# A server of everything that a network's router sends: DHCP, DHCPv6, router advertisements.
SERVER = """\
#!/bin/sh
exec dnsmasq --conf-file=/dev/null --keep-in-foreground --user=root --port=0 --leasefile-ro \\
    --no-ping --interface=eth0 --dhcp-authoritative --enable-ra --log-facility=/run/server.log \\
    --pid-file=/run/server.pid \\
    --dhcp-range=172.30.1.150,172.30.1.150 --dhcp-range=fd00:30:1::,ra-only
"""


@pytest.mark.parametrize("filtering", ["on", "off"])
def test_a_guest_that_plays_the_networks_router(
    network: Lan, machine: DemoVm, tmp_path: Path, filtering: str
) -> None:
    """Uses cloudinit: with dnsmasq, such messages never pass the uplink, whatever their source."""
    web, station = network.container("web", ipv6=True), network.station(ipv6=True)
    own6, foreign6 = web.nic().address6, "fd00:30:1::66"
    succeeds = filtering == "off"
    demo = Path(machine.environ["VMNET_DEMO"])
    server = tmp_path / "server"
    server.write_text(SERVER)
    server.chmod(0o755)
    files = {"/bin/server": server, **program(Path("/usr/sbin/dnsmasq"))}
    initrd = appended(demo / "initrd", files, tmp_path / "initrd")
    settings = {
        "VMNET_IPAM": "cloudinit",
        "VMNET_FILTER": filtering,
        "VMNET_KERNEL": str(demo / "vmlinuz"),
        "VMNET_INITRD": str(initrd),
        "VMNET_APPEND": "console=ttyS0 quiet panic=-1 vmnet.dhcp=off",
    }
    with shell(web, machine, "", **settings) as guest:
        for address in (f"{web.address}/24", f"{own6}/64", f"{foreign6}/64"):
            guest.command(f"ip address add {address} dev eth0", PROMPT_LINE)
        await_answer(station, str(own6))
        # Neighbour discovery for an address that does not belong to the guest.
        # With -w, ping goes on when the kernel has asked in vain for the neighbour.
        answers = station.run(
            "ping", "-c1", f"-w{_seconds(succeeds)}", foreign6, check=False, timeout=WAIT
        )
        assert (answers.returncode == 0) == succeeds

        # Otherwise the guest's neighbour advertisements say that it is no router, and the station's
        # kernel removes the route when it checks its neighbour (RFC 4861, section 7.2.5).
        guest.command("echo 1 >/proc/sys/net/ipv6/conf/all/forwarding", PROMPT_LINE)
        guest.command("server &", PROMPT_LINE)

        def logged(text: str) -> bool:
            return text in guest.command("cat /run/server.log", PROMPT_LINE)

        until(lambda: logged("RTR-ADVERT(eth0)"), WAIT, "a router advertisement", interval=0.5)
        tries = ("-t", str(_seconds(succeeds)), "-T", "1")
        leased = ("-f", "-n", "-q", *tries, "-s", "/bin/true")
        udhcpc = station.run("udhcpc", "-i", "eth0", *leased, check=False, timeout=180)
        assert (udhcpc.returncode == 0) == succeeds, udhcpc.stderr
        until(lambda: logged("DHCPOFFER"), WAIT, "an offer", interval=0.5)

        # This ping follows the advertisement on the same wire, so the station has received it.
        await_answer(station, str(own6))
        routes = station.ip("-6", "-j", "route", "show", "default").json()
        routers = [route.get("gateway") for route in routes if route.get("protocol") == "ra"]
        assert bool(routers) == succeeds, routes


def _seconds(succeeds: bool) -> int:
    """Return how long to wait for an answer: long on a busy machine, briefly if none can come."""
    return 60 if succeeds else 3
