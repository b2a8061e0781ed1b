"""Namespaces reach each other, resemble containers, and leave nothing behind."""

from __future__ import annotations

import json
import signal
import socket
import sys
from pathlib import Path

import pytest

from tests.lab.command import CommandError
from tests.lab.net.lan import WORLD, WORLD6, Lan, lan
from tests.lab.net.namespace import namespace
from tests.lab.net.services import dns_server, web_server
from tests.lab.net.snapshot import require_same
from tests.lab.wait import WAIT, until

PING = ("ping", "-c1", f"-w{WAIT // 2}")
"""Until the first answer, at most that many seconds."""


def test_a_container_is_configured_as_by_docker(network: Lan) -> None:
    web = network.container("web")
    link = web.link("eth0")
    assert link is not None
    assert (link["address"], link["mtu"]) == ("02:42:ac:1e:01:02", 1500)
    assert "txqlen" not in link  # iproute2 omits a queue length of 0
    assert link["linkinfo"]["info_kind"] == "veth"
    (address,) = web.addresses("eth0")
    assert (address["local"], address["prefixlen"]) == ("172.30.1.2", 24)
    assert address["broadcast"] == "172.30.1.255"
    assert [route["dst"] for route in web.routes()] == ["default", "172.30.1.0/24"]


def test_addresses_are_assigned_in_order_and_only_once(network: Lan) -> None:
    web = network.container("web", address="172.30.1.2", ipv6="fd00:30:1::77")
    assert network.station().address == "172.30.1.3"
    assert web.nic().address6 == "fd00:30:1::77"


def test_a_station_and_the_world_reach_a_container(network: Lan) -> None:
    web = network.container("web", ipv6=True)
    assert web.nic().address6 == "fd00:30:1::2"
    for other in (network.station(ipv6=True), network.world()):
        other.run(*PING, web.address)
        other.run(*PING, "-6", "fd00:30:1::2")


def test_programs_see_the_container_s_names(network: Lan) -> None:
    web = network.container(
        "web", hostname="shop", domainname="example.org", resolv_conf="search example.org\n"
    )
    assert web.run("hostname").stdout == "shop\n"
    assert web.run("cat", "/proc/sys/kernel/domainname").stdout == "example.org\n"
    assert (
        web.run("cat", "/etc/hostname", "/etc/resolv.conf").stdout == "shop\nsearch example.org\n"
    )
    assert web.run("getent", "hosts", "shop").stdout.split() == ["172.30.1.2", "shop"]
    assert socket.gethostname() != "shop"


def test_pid_1_receives_signals(network: Lan) -> None:
    web = network.container("web")
    program = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"
        "print(os.getpid(), flush=True)\n"
        "signal.pause()\n"
    )
    with web.popen(sys.executable, "-c", program, pid=True) as process:
        until(lambda: process.output() == "1\n", WAIT, "the program", detail=process.output)
        process.signal(signal.SIGTERM)
        assert process.wait() == 7


def test_a_failure_shows_the_command_and_its_output(network: Lan) -> None:
    with pytest.raises(
        CommandError, match=r"ip link show nothing: exit status 1\n.*does not exist"
    ):
        network.host.run("ip", "link", "show", "nothing")


def test_a_container_with_several_interfaces_on_two_networks(network: Lan) -> None:
    with lan(2, host=network.host) as second:
        web = network.container("web", gateway=False, mtu=1450)
        second.attach(web, "eth1", extra=["172.30.2.77/24"])
        assert [a["local"] for a in web.addresses() if a["dev"] != "lo"] == [
            "172.30.1.2",
            "172.30.2.2",
            "172.30.2.77",
        ]
        second.station().run(*PING, "172.30.2.77")


def test_a_host_route_as_in_calico(network: Lan) -> None:
    network.host.sysctl(net__ipv4__conf__docker0__proxy_arp=1)
    pod = network.container(
        "pod",
        address="10.1.2.3/32",
        gateway="169.254.1.1",
        routes=["169.254.1.1 dev eth0 scope link"],
    )
    assert [route["dst"] for route in pod.routes()] == ["default", "169.254.1.1"]


def test_a_dump_shows_a_change_and_its_reversal(network: Lan) -> None:
    web = network.container("web", ipv6=True)
    before = web.dump()
    assert before == json.loads(json.dumps(before))
    web.ip("address", "add", "172.30.1.9/24", "dev", "eth0")
    with pytest.raises(AssertionError, match=r"\+.*172\.30\.1\.9"):
        require_same(before, web.dump())
    web.ip("address", "del", "172.30.1.9/24", "dev", "eth0")
    require_same(before, web.dump())
    web.sysctl(net__ipv4__conf__eth0__arp_ignore=1)
    assert web.dump() != before
    web.sysctl(net__ipv4__conf__eth0__arp_ignore=0)
    web.ip("link", "add", "br0", "type", "bridge")
    assert web.dump() != before
    web.ip("link", "del", "br0")
    assert web.dump() == before


def test_a_container_reaches_a_web_server_in_the_world_by_name(network: Lan) -> None:
    world = network.world()
    web = network.container("web", ipv6=True, resolv_conf=f"nameserver {WORLD}\n")
    with web_server(world, "from outside\n"), dns_server(world, {"www.example.org": WORLD}):
        for host in ("www.example.org", f"[{WORLD6}]"):
            page = web.run("curl", "-sS", "--max-time", "60", f"http://{host}/")
            assert page.stdout == "from outside\n"


def test_a_thread_can_enter_a_namespace(network: Lan) -> None:
    web = network.container("web")
    with web.entered():
        assert "eth0" in dict.fromkeys(name for _, name in socket.if_nameindex())
        assert len(socket.if_nameindex()) == 2


def test_a_namespace_ends_with_programs_in_other_sessions() -> None:
    with namespace("short") as made:
        made.run("sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 &")
        (pid,) = until(made.pids, WAIT, "the sleeper")
        name, etc = made.name, made.etc
    assert not made.path.exists()
    assert not etc.exists()
    assert name not in Path("/proc/mounts").read_text()
    until(lambda: not _runs(pid), WAIT, "the sleeper to end")


def _runs(pid: int) -> bool:
    """Return whether a process runs. A zombie has an empty command line."""
    try:
        return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
    except (FileNotFoundError, ProcessLookupError):
        return False
