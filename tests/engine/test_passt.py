"""VMNET_BRIDGE=passt on a real engine: no capability, and the engine's own seccomp profile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.engine.conftest import FETCH, VM, Vms
from tests.engine.test_ending import attached
from tests.lab.command import run
from tests.lab.engines.docker import Container
from tests.lab.wait import WAIT, until

pytestmark = [pytest.mark.engine, pytest.mark.long]

NO_CAPABILITY = ("--cap-drop", "ALL")


def start(vms: Vms, *options: str, bridge: str = "auto,passt") -> Container:
    settings = (*VM, "-e", f"VMNET_BRIDGE={bridge}")
    return vms.docker.start(vms.image, options=(*NO_CAPABILITY, *settings, *options))


def healthy(vm: Container) -> bool:
    return not vm.exec("vmnet", "health", check=False).returncode


def test_a_container_without_capabilities(vms: Vms) -> None:
    with vms.docker.network("vmt-passt") as network:
        web = vms.docker.start(
            vms.image,
            *("-m", "http.server", "80"),
            options=("--network", network, "--name", "vmt-peer", "--entrypoint", "python3"),
        )
        vm = start(vms, "--network", network, "-p", "80", "-p", "5000/udp", "-it")
        published = f"127.0.0.1:{vm.port('80/tcp')}"
        # The guest answers before it has set its name and its resolver.
        vms.await_log(vm, f"vmnet-guest: eth0 {vm.address(network)}/")
        identity = vms.query(published, "identity")
        assert "not wired by auto: the container lacks the capability NET_ADMIN" in vm.logs()
        inspected = vm.inspect()["NetworkSettings"]["Networks"][network]
        (interface,) = identity["interfaces"]
        assert interface["mac"] == inspected["MacAddress"]
        own = f"{inspected['IPAddress']}/{inspected['IPPrefixLen']}"
        assert interface["ipv4"] == [own]
        assert identity["hostname"] == vm.inspect()["Config"]["Hostname"]
        # The engine's own DNS knows the other container.
        found = vms.query(published, "lookup?name=vmt-peer")["addresses"]
        assert found == [web.address(network)]

        _require_datagrams(vms, vm)
        until(lambda: healthy(vm), WAIT, "the guest to be healthy", detail=vm.logs)
        vm.exec("sh", "-c", "kill $(cat /run/vmnet/passt/passt.pid)")
        vms.await_log(vm, "passt: ended before the VM")
        until(lambda: healthy(vm), WAIT, "QEMU to connect to the new passt", detail=vm.logs)
        assert vms.query(published, "identity") == identity
        vm.stop()
        assert vm.wait() == 0
        for container in (vm, web):
            container.rm()


def _require_datagrams(vms: Vms, vm: Container) -> None:
    """Send datagrams to a published port. The guest has no UDP server: its kernel counts them."""
    with attached(vms, vm) as console:

        def counted() -> int:
            console.send_line("echo no-ports $(awk '/^Udp:/ {print $3}' /proc/net/snmp)")
            return int(console.expect(r"^no-ports NoPorts (\d+)$")[1])

        before = counted()
        to = f"/dev/udp/127.0.0.1/{vm.port('5000/udp')}"

        def arrived() -> bool:
            vms.docker.on_host("bash", "-c", f"echo datagram > {to}")
            return counted() >= before + 3

        until(arrived, WAIT, "the datagrams in the guest")


@contextmanager
def macvlan(vms: Vms) -> Iterator[str]:
    """Make a macvlan network on one end of a cable in the engine's host."""
    enter = ("nsenter", f"--net={vms.docker.host.path}") if vms.docker.host else ()
    run(*enter, "ip", "link", "add", "vmt-mv0", "type", "veth", "peer", "name", "vmt-mv1")
    try:
        for end in ("vmt-mv0", "vmt-mv1"):
            run(*enter, "ip", "link", "set", end, "up")
        options = ("-d", "macvlan", "--subnet", "10.213.91.0/24", "-o", "parent=vmt-mv0")
        with vms.docker.network("vmt-passt-macvlan", *options) as network:
            yield network
    finally:
        run(*enter, "ip", "link", "delete", "vmt-mv0")


def test_a_macvlan_network(vms: Vms) -> None:
    with macvlan(vms) as network:
        vm = start(vms, "--network", network, bridge="passt")
        vms.await_log(vm, f"vmnet-guest: eth0 {vm.address(network)}/")
        url = f"http://{vm.address(network)}/cgi-bin/identity"
        page = vms.docker.run(
            vms.image,
            *("-c", FETCH, url),
            options=("--network", network, "--entrypoint", "python3"),
        )
        assert vm.inspect()["NetworkSettings"]["Networks"][network]["MacAddress"] in page.stdout
        vm.rm()
