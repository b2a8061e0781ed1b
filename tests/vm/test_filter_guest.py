"""A guest that lies about who it is, from inside."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.lab.console import Console, on_process
from tests.lab.namespace import Namespace
from tests.lab.netns import Lan
from tests.vm.conftest import BOOT_SECONDS, VMNET, Machine

pytestmark = pytest.mark.vm

PROMPT = "vmnet-guest# "
ROGUE_MAC = "02:42:ac:1e:01:99"


@contextmanager
def shell(container: Namespace, machine: Machine, **settings: str) -> Iterator[Console]:
    """The guest's console, its network up."""
    environ = {**machine.environ, **settings}
    with (
        container.popen(*VMNET, "run", env=environ, pid=True, pipe=True) as process,
        on_process(process) as console,
    ):
        console.expect(r"vmnet-guest: eth0 .*via", BOOT_SECONDS)
        console.send_line()
        console.expect(PROMPT, BOOT_SECONDS)
        yield console


def received(console: Console, command: str) -> int:
    """How many answers came, by what ping and arping of busybox say at their end."""
    said = console.command(command, re.escape(PROMPT), 60)
    found = re.search(r"(\d+) packets received|Received (\d+) ", said)
    assert found, said
    return int(found[1] or found[2])


def mac_of(station: Namespace, address: str) -> str:
    """The MAC that a station knows for an address; empty if it knows none."""
    known = station.ip("-j", "neighbour", "show", address).json()
    return str(known[0].get("lladdr", "")) if known else ""


@pytest.mark.parametrize("filtering", ["on", "off"])
def test_a_guest_that_takes_over_a_neighbours_place(
    network: Lan, machine: Machine, filtering: str
) -> None:
    """Without the filter each of these attacks succeeds, or this test would prove nothing."""
    web, victim, station = network.container("web"), network.station("victim"), network.station()
    succeeds = filtering == "off"
    station.run("ping", "-c1", "-W5", victim.address)
    assert mac_of(station, victim.address) == victim.mac
    with shell(web, machine, VMNET_FILTER=filtering) as guest:
        assert received(guest, f"ping -c1 -W10 {station.address}") == 1

        guest.command(f"ip address add {victim.address}/32 dev eth0", re.escape(PROMPT))
        announce = f"arping -U -c2 -w3 -I eth0 -s {victim.address} {victim.address}"
        guest.command(announce, re.escape(PROMPT), 60)
        assert (mac_of(station, victim.address) == web.mac) == succeeds
        victims = f"ping -c1 -W2 -I {victim.address} {network.gateway}"
        assert (received(guest, victims) == 1) == succeeds
        guest.command(f"ip address delete {victim.address}/32 dev eth0", re.escape(PROMPT))

        guest.command(f"ip link set eth0 address {ROGUE_MAC}", re.escape(PROMPT))
        assert (received(guest, f"arping -c2 -w3 -I eth0 {station.address}") > 0) == succeeds
        assert (mac_of(station, web.address) == ROGUE_MAC) == succeeds
        guest.command(f"ip link set eth0 address {web.mac}", re.escape(PROMPT))
        assert received(guest, f"ping -c3 -W10 {station.address}") > 0
