"""VMNET_BRIDGE=passt in a container without NET_ADMIN, with a namespace in the guest's place."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.lab.clients.dhcp4 import udhcpc
from tests.lab.clients.dhcp6 import dhclient6
from tests.lab.command import Completed, Process
from tests.lab.net.lan import WORLD, WORLD6, Lan, lan
from tests.lab.net.namespace import Namespace
from tests.lab.net.services import dns_server, web_server
from tests.lab.net.snapshot import require_same
from tests.lab.net.stream_guest import behind_stream
from tests.lab.wait import WAIT, until
from tests.netns.conftest import VMNET, Vmnet, is_vm
from vmnet.errors import PrivilegeError

UNPRIVILEGED = ("setpriv", "--bounding-set", "-net_admin,-net_raw,-mknod", "--inh-caps", "-all")


@contextmanager
def running(container: Namespace, vmnet: Vmnet, **settings: str) -> Iterator[Process]:
    """Run a VM without privileges on the network."""
    container.sysctl(net__ipv4__ip_unprivileged_port_start=0)  # as Docker does
    container.sysctl(net__ipv4__ping_group_range="0 2147483647")
    container.ip("link", "set", "lo", "up")
    environ = {**vmnet.environ, "VMNET_BRIDGE": "auto,passt", **settings}
    with container.popen(*UNPRIVILEGED, *VMNET, "run", env=environ, pid=True) as process:
        until(lambda: is_vm(process), WAIT, "vmnet to become the VM", detail=process.output)
        yield process


def fetch(where: Namespace, address: str) -> str:
    url = f"http://[{address}]/" if ":" in address else f"http://{address}/"
    return where.run("curl", "-sS", "--max-time", "20", url).stdout


def unprivileged(container: Namespace, vmnet: Vmnet, command: str, **settings: str) -> Completed:
    environ = {**vmnet.environ, **settings}
    argv = (*UNPRIVILEGED, *VMNET, command)
    return container.run(*argv, env=environ, check=False, pid=True)


def inside(container: Namespace, process: Process, vmnet: Vmnet, *command: str) -> str:
    """Run a command in the container of a running VM, and return its output."""
    enter = ("nsenter", "-t", str(process.pid), "-p", "-m")
    return container.run(*enter, *VMNET, *command, env=vmnet.environ, check=False).stdout


def test_a_network_that_comes_later_is_named_once(network: Lan, vmnet: Vmnet) -> None:
    with lan(2, host=network.host) as second:
        web = network.container("web")
        with running(web, vmnet) as process:
            second.attach(web, "eth1", gateway=False)
            text = "eth1 was added: with passt, a running VM gets no NIC for it"
            until(lambda: text in process.output(), WAIT, "a warning", detail=process.output)
            web.ip("link", "set", "eth1", "mtu", "1400")
            until(lambda: text in inside(web, process, vmnet, "status"), WAIT, "a row of status")
            assert process.output().count(text) == 1


def test_a_change_of_the_interface_is_named_once(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web")
    with running(web, vmnet) as process:

        def is_named(mtu: int) -> bool:
            both = "172.30.1.2/24 172.30.1.77/24"
            text = f"eth0 has {both}, MTU {mtu} now: with passt, a running VM keeps those of its"
            shown = inside(web, process, vmnet, "status")
            return process.output().count(text) == shown.count(text) == 1

        web.ip("address", "add", "172.30.1.77/24", "dev", "eth0")
        until(lambda: is_named(1500), WAIT, "a new address", detail=process.output)
        web.ip("link", "set", "eth0", "mtu", "1400")
        until(lambda: is_named(1400), WAIT, "another MTU", detail=process.output)


def test_the_guest_is_the_container_and_the_network_stays_as_it_is(
    network: Lan, vmnet: Vmnet
) -> None:
    web, station = network.container("web", ipv6=True, mtu=1400), network.station(ipv6=True)
    before = web.dump()
    with running(web, vmnet) as process:
        log = process.output()
        assert "not wired by auto: the container lacks the capability NET_ADMIN" in log
        assert "not carried by passt: protocols other than TCP, UDP" in log
        with behind_stream(web, vmnet.run_dir / "passt" / "passt.sock") as vm:
            lease = udhcpc(vm)
            assert str(lease.address) == f"{web.address}/{web.nic().prefix}"
            assert [str(router) for router in lease.routers] == [network.gateway]
            assert [str(server) for server in lease.dns] == [network.gateway]
            assert lease.mtu == 1400
            lease.configure(vm)
            _require_traffic(network, vm, station, web)
    require_same(before, web.dump())


def _require_traffic(network: Lan, vm: Namespace, station: Namespace, web: Namespace) -> None:
    own6 = (web.nic().address6 or "").partition("/")[0]
    vm.run("sysctl", "-qw", "net.ipv6.conf.eth0.accept_ra=2")
    vm.ip("address", "add", f"{own6}/64", "dev", "eth0", "nodad")
    with web_server(network.world(), "the world\n"), web_server(vm, "the guest\n"):
        assert fetch(vm, WORLD) == "the world\n"
        assert fetch(station, web.address) == "the guest\n"
        assert fetch(station, own6) == "the guest\n"
        assert fetch(web, "127.0.0.1") == "the guest\n"
        until(lambda: any(":" in r.get("gateway", "") for r in vm.routes()), WAIT, "a router")
        assert fetch(vm, WORLD6) == "the world\n"
    with dns_server(vm, {"name.example": "192.0.2.7"}):  # UDP
        asked = ("busybox", "nslookup", "-type=a", "name.example", web.address)
        assert "192.0.2.7" in station.run(*asked).stdout
    assert not vm.run("ping", "-c", "1", "-W", "10", WORLD).returncode


def test_a_passt_that_connects_to_the_containers_loopback_is_named(
    network: Lan, vmnet: Vmnet
) -> None:
    """The guest sends frames to 127.0.0.1 to its gateway, which is passt."""
    web = network.container("web")
    socket = vmnet.run_dir / "passt" / "passt.sock"
    with running(web, vmnet) as process, behind_stream(web, socket) as vm:
        lease = udhcpc(vm)
        lease.configure(vm)
        vm.sysctl(net__ipv4__conf__all__route_localnet=1)
        vm.ip("address", "flush", "dev", "lo")
        own = str(lease.address.ip)
        vm.ip("route", "add", "127.0.0.1", "via", network.gateway, "dev", "eth0", "src", own)
        with web_server(web, "private\n", 12001):
            asked = ("curl", "-sS", "--max-time", "10", "http://127.0.0.1:12001/")
            answer = vm.run(*asked, check=False).stdout
        warning = "lets the guest connect to programs that listen on the container's loopback"
        assert (answer == "private\n") == (warning in process.output())


def test_passt_is_started_again(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web")
    socket = vmnet.run_dir / "passt" / "passt.sock"
    with running(web, vmnet) as process, behind_stream(web, socket) as vm:
        first = udhcpc(vm)
        os.kill(_outer(web), signal.SIGTERM)
        until(lambda: "starting it again" in process.output(), WAIT, "the keeper to notice")
        assert udhcpc(vm).address == first.address


def _outer(container: Namespace) -> int:
    """Return passt's process ID outside the container."""
    (found,) = [pid for pid, name in container.names().items() if name.startswith("passt")]
    return found


def test_plan_check_and_run_agree(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web")
    for command in ("plan", "check", "run"):
        refused = unprivileged(web, vmnet, command, VMNET_BRIDGE="bridge")
        assert "the container lacks the capability NET_ADMIN" in refused.stdout + refused.stderr
        assert "VMNET_BRIDGE=" in refused.stdout + refused.stderr
        if command != "check":
            assert refused.returncode == PrivilegeError.exit_code
    checked = unprivileged(web, vmnet, "check", VMNET_BRIDGE="passt")
    assert "eth0 by passt" in checked.stdout
    assert "not carried" in checked.stdout


def test_what_a_bridge_takes_from_the_container_stays_with_passt(
    network: Lan, vmnet: Vmnet
) -> None:
    """Its programs are reachable, and its routes and policies apply to the guest's connections."""
    web = network.container("web")
    web.ip("tuntap", "add", "tun0", "mode", "tun")
    web.ip("address", "add", "10.8.0.2/24", "dev", "tun0")
    web.ip("link", "set", "tun0", "up")
    web.ip("route", "add", "0.0.0.0/1", "dev", "tun0")
    web.ip("route", "add", "10.9.0.0/16", "via", network.gateway, "table", "100")
    web.ip("route", "add", "blackhole", "10.7.0.0/16")
    with web_server(web, "the container\n", 12001):
        for command in ("plan", "check"):
            said = unprivileged(web, vmnet, command, VMNET_BRIDGE="auto,passt")
            assert said.returncode == 0, said.stdout + said.stderr
            text = said.stdout + said.stderr
            assert "through tun0" not in text
            assert "other programs" not in text
            assert "policy routing" not in text
            assert "blackhole" not in text
    refused = vmnet(web, "plan", VMNET_BRIDGE="auto,passt")  # the bridge, with privileges
    assert "VMNET_LOST_ROUTES=accept" in refused.stderr


def test_settings_without_effect_are_named(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web")
    ignored = {
        "VMNET_FILTER": "off",
        "VMNET_BRIDGE_ADDRESS": "spare",
        "VMNET_LOST_ROUTES": "accept",
        "VMNET_RESTORE_NETWORK": "on",
        "VMNET_HOTPLUG": "2",
    }
    environ = {**ignored, "VMNET_BRIDGE": "auto,passt", "VMNET_LOCALHOST": "on"}
    for command in ("plan", "check"):
        said = " ".join(unprivileged(web, vmnet, command, **environ).stdout.split())
        for name in ignored:
            assert f"{name} has no effect, because passt" in said
        assert said.count("has no effect") == len(ignored)
        assert "has no effect" not in vmnet(web, command, **environ).stdout  # a bridge
    with running(web, vmnet, VMNET_FILTER="off") as process:
        assert "VMNET_FILTER has no effect, because passt" in process.output()


def test_each_interface_has_a_passt(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web", ipv6=True)
    with lan(2, ipv6=True, host=network.host) as second:
        second.attach(web, "eth1", ipv6=True, gateway=False)
        for command in ("plan", "check"):
            refused = unprivileged(web, vmnet, command, VMNET_BRIDGE="passt", VMNET_LOCALHOST="on")
            text = refused.stdout + refused.stderr
            assert "VMNET_LOCALHOST=on needs a single interface" in " ".join(text.split())
        with running(web, vmnet) as process:
            _require_two_nics(web, vmnet, (network.station(), second.station()), network)
            assert_refused(web, "127.0.0.1")
            shown = inside(web, process, vmnet, "status")
            assert "eth0 by passt" in shown
            assert "eth1 by passt" in shown


def _require_two_nics(
    web: Namespace, vmnet: Vmnet, stations: tuple[Namespace, Namespace], network: Lan
) -> None:
    nics = web.nic("eth0"), web.nic("eth1")
    sockets = (vmnet.run_dir / folder / "passt.sock" for folder in ("passt", "passt1"))
    with ExitStack() as stack:
        guests = [stack.enter_context(behind_stream(web, socket)) for socket in sockets]
        stack.enter_context(web_server(network.world(), "the world\n"))
        for nic, vm, station in zip(nics, guests, stations, strict=True):
            lease = udhcpc(vm)
            assert str(lease.address) == f"{nic.address}/{nic.prefix}"
            assert str(dhclient6(vm).address) == nic.address6
            lease.configure(vm)
            stack.enter_context(web_server(vm, f"the guest at {nic.address}\n"))
            assert fetch(station, nic.address) == f"the guest at {nic.address}\n"
            assert fetch(vm, WORLD) == "the world\n"


@pytest.mark.parametrize("choice", ["off", "on", "auto"])
def test_the_containers_localhost(network: Lan, vmnet: Vmnet, choice: str) -> None:
    web, station = network.container("web"), network.station()
    socket = vmnet.run_dir / "passt" / "passt.sock"
    with running(web, vmnet, VMNET_LOCALHOST=choice), behind_stream(web, socket) as vm:
        udhcpc(vm).configure(vm)
        with web_server(vm, "the guest\n"):
            assert fetch(station, web.address) == "the guest\n"
            if choice == "off":
                assert_refused(web, "127.0.0.1")
            else:
                assert fetch(web, "127.0.0.1") == "the guest\n"


def assert_refused(where: Namespace, address: str) -> None:
    url = f"http://{address}/"
    refused = where.run("curl", "-sS", "--max-time", "20", url, check=False)
    assert "Failed to connect" in refused.stderr or "Couldn't connect" in refused.stderr


def test_ports_stay_with_the_container(network: Lan, vmnet: Vmnet) -> None:
    """Those of its programs, and those that a program may use later."""
    web, station = network.container("web"), network.station()
    socket = vmnet.run_dir / "passt" / "passt.sock"
    with web_server(web, "the container\n", 2081):
        planned = unprivileged(
            web, vmnet, "plan", VMNET_BRIDGE="passt", VMNET_PASST_PORTS="2080-2090"
        )
        assert "VMNET_PASST_PORTS contains 2081/tcp" in planned.stderr
        kept = {"VMNET_KEEP_PORTS": "2082", "VMNET_RESTORE_NETWORK": "off"}
        with running(web, vmnet, **kept) as process, behind_stream(web, socket):
            assert "connections to 2081/tcp, on which programs" in process.output()
            with web_server(web, "the later program\n", 2082):
                for port, answer in ((2081, "the container\n"), (2082, "the later program\n")):
                    asked = ("curl", "-sS", "--max-time", "20", f"http://{web.address}:{port}/")
                    assert station.run(*asked).stdout == answer


def test_the_guest_is_not_configured_if_another_system_does_it(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web")
    planned = unprivileged(web, vmnet, "plan", VMNET_BRIDGE="passt", NO_DHCP="true")
    assert "--no-dhcp --no-dhcpv6 --no-ra" in planned.stdout


def test_a_user_mode_network_of_a_rootless_engine_is_handed_over(
    network: Lan, vmnet: Vmnet
) -> None:
    """slirp4netns or pasta is behind a tap, as in rootless Podman."""
    web = network.container("web")
    web.ip("link", "delete", "eth0")
    web.ip("tuntap", "add", "tap0", "mode", "tap")
    web.ip("address", "add", "10.0.2.100/24", "dev", "tap0")
    web.ip("link", "set", "tap0", "up")
    planned = unprivileged(web, vmnet, "plan", VMNET_BRIDGE="passt")
    assert "tap0 by passt" in planned.stdout, planned.stderr


def test_status_shows_the_path_and_a_lost_connection(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web")
    with running(web, vmnet) as process:
        lost = "QEMU is not connected to"

        def is_shown() -> bool:
            shown = inside(web, process, vmnet, "status")
            assert "eth0 by passt" in shown
            assert "the link itself serves the guest" in shown
            return lost in shown

        # The kernel reports the connection from when passt accepts it until passt closes it.
        with behind_stream(web, vmnet.run_dir / "passt" / "passt.sock"):
            until(lambda: not is_shown(), WAIT, "the connection")
        until(is_shown, WAIT, "the lost connection")
