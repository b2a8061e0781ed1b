"""Changes of a running VM's uplinks, as the log, status and health report them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.lab.command import Process, run
from tests.lab.net.frames import forged, heard, send, until_seen
from tests.lab.net.lan import Lan, lan
from tests.lab.net.namespace import Namespace
from tests.lab.wait import WAIT, until
from tests.netns.conftest import VMNET, Vmnet, bridge_address, is_vm
from vmnet.net.packets import mac_bytes

Change = Callable[[Lan, Namespace], object]


def _set_other_end(state: str) -> Change:
    return lambda network, web: network.host.ip("link", "set", web.nic().port, state)


def _set(*words: str) -> Change:
    return lambda network, web: web.ip("link", "set", "eth0", *words)


@pytest.mark.parametrize(
    ("damage", "repair", "trouble"),
    [
        (_set("down"), _set("up"), "eth0 is down"),
        (_set("nomaster"), _set("master", "br0"), "eth0 is no longer in br0"),
        (_set_other_end("down"), _set_other_end("up"), "eth0 has no carrier"),
    ],
)
def test_a_nic_that_is_cut_off_and_comes_back(
    network: Lan, vmnet: Vmnet, damage: Change, repair: Change, trouble: str
) -> None:
    web = network.container("web")
    with vmnet.running(web) as process:
        assert "eth0" not in _reason(vmnet, process)
        damage(network, web)
        _await_word(process, f"vmnet: error: {trouble}")
        assert trouble in _reason(vmnet, process)
        repair(network, web)
        _await_word(process, "vmnet: eth0 is back in br0")
        assert process.output().count(trouble) == 1
        assert "eth0" not in _reason(vmnet, process)


def test_a_nic_that_is_gone(network: Lan, vmnet: Vmnet) -> None:
    """This is the state after ``docker network disconnect``. It does not block the next start."""
    web = network.container("web")
    with vmnet.running(web) as process:
        network.host.ip("link", "delete", web.nic().port)
        trouble = "eth0 is gone, and the VM is off its network"
        _await_word(process, f"vmnet: error: {trouble}")
        asked = _ask(vmnet, process, "health", "--json")
        assert (asked["verdict"], asked["reason"]) == ("unhealthy", trouble)
        assert _ask(vmnet, process, "status", "--json")["uplinks"] == [trouble]
        assert f"{trouble}: restart the container" in _say(vmnet, process, "status")
    assert "no network interface to hand over" in vmnet(web, "run").stderr


def test_a_new_nic_with_the_same_name_is_another_nic(network: Lan, vmnet: Vmnet) -> None:
    """The engine creates a new NIC when a network is connected again."""
    web, station = network.container("web"), network.station()
    with vmnet.running(web) as process:
        network.host.ip("link", "delete", web.nic().port)
        _await_word(process, "eth0 is gone")
        again = network.attach(web, "eth0", address="172.30.1.99")
        _await_word(process, "vmnet: warning: eth0 was added")
        assert not _answers(station, again.address)
        assert "eth0 is gone" in _reason(vmnet, process)


@pytest.mark.parametrize("strategy", ["bridge", "redirect"])
def test_a_network_that_was_connected_again_keeps_its_addresses(
    network: Lan, vmnet: Vmnet, strategy: str
) -> None:
    """The engine gives the new NIC the same name, MAC and address. The next start hands it over."""
    web = network.container("web")
    with vmnet.running(web, VMNET_BRIDGE=strategy) as process:
        network.host.ip("link", "delete", web.nic().port)
        _await_word(process, "eth0 is gone")
        network.attach(web, "eth0", address=web.address)
        _await_word(process, "eth0 was added")
    with vmnet.running(web) as process:
        assert f"eth0: the guest gets MAC {web.mac} and {web.address}/24" in process.output()


def test_the_engine_can_connect_a_default_route_again(network: Lan, vmnet: Vmnet) -> None:
    """The bridge's own default route goes with the NIC: the engine could not add another one."""
    web = network.container("web", resolv_conf="nameserver 127.0.0.11\n")
    with vmnet.running(web, VMNET_BRIDGE="bridge") as process:
        bridge_address(web)
        until(lambda: _default(web), WAIT, "br0 to have the default route")
        network.host.ip("link", "delete", web.nic().port)
        _await_word(process, "eth0 is gone")
        until(lambda: not _default(web), WAIT, "br0 to lose the default route")
        network.attach(web, "eth0", address=web.address)
        _await_word(process, "eth0 was added")
        assert _default(web) == ["eth0"], "the lost route is not added again"


def test_a_later_network_gets_no_answers_from_the_container(network: Lan, vmnet: Vmnet) -> None:
    """The engine can still configure the NIC, and the next start hands it over."""
    with lan(2, host=network.host) as second:
        web, station = network.container("web"), second.station()
        with vmnet.running(web) as process:
            late = second.attach(web, "eth1", gateway=False)
            _await_word(process, "vmnet: warning: eth1 was added")
            assert "the VM is not on that network: vmnet blocks it" in process.output()
            eth1 = web.link("eth1")
            assert eth1
            assert "UP" in eth1["flags"]
            assert not _answers(station, late.address)
            with heard(station) as card:
                web.run("arping", "-c1", "-w1", "-I", "eth1", station.address, check=False)
                last = forged(second.host.link(second.bridge)["address"])  # type: ignore[index]
                send(second.host, last, by=second.bridge)
                frames = until_seen(card, last)
                assert not [frame for frame in frames if frame[6:12] == mac_bytes(late.mac)]
            assert _ask(vmnet, process, "status", "--json")["added_nics"] == ["eth1"]
            assert "eth1" not in _reason(vmnet, process), "the VM still has all its networks"
        with vmnet.running(web) as process:
            assert f"eth1: the guest gets MAC {late.mac} and {late.address}/24" in process.output()
            eth1 = web.link("eth1")
            assert eth1
            assert eth1["master"] == "br1"


def test_a_network_that_appears_during_planning_is_shut_too(network: Lan, vmnet: Vmnet) -> None:
    """``docker run -d …; docker network connect …`` does this: the NICs were read before."""
    with lan(2, host=network.host) as second:
        web = network.container("web", resolv_conf="nameserver 127.0.0.11\n")
        station, probed = second.station(), network.station("probed")
        probing = {"NO_DHCP": "true", "VMNET_BRIDGE_ADDRESS": "spare"}
        with (
            heard(probed) as card,
            web.popen(*VMNET, "run", env={**vmnet.environ, **probing}, pid=True) as process,
        ):
            while card.recv(2048)[12:14] != b"\x08\x06":  # an ARP probe for a spare address
                pass
            late = second.attach(web, "eth1", gateway=False)
            _await_word(process, "vmnet: warning: eth1 was added")
            until(lambda: is_vm(process), WAIT, "vmnet to become the VM", detail=process.output)
            assert not _answers(station, late.address)
            assert _ask(vmnet, process, "status", "--json")["added_nics"] == ["eth1"]
            assert process.output().count("eth1 was added") == 1


def test_an_excluded_network_stays_with_the_container(network: Lan, vmnet: Vmnet) -> None:
    with lan(2, host=network.host) as second:
        web, station = network.container("web"), second.station()
        with vmnet.running(web, VMNET_INTERFACES="eth0") as process:
            late = second.attach(web, "eth1", gateway=False)
            web.ip("link", "set", "eth0", "down")
            _await_word(process, "eth0 is down")
            assert "eth1" not in process.output()
            station.run("arping", "-f", "-w30", "-I", "eth0", late.address)


def _answers(station: Namespace, address: str) -> bool:
    asked = station.run("arping", "-c2", "-w2", "-I", "eth0", address, check=False)
    return asked.returncode == 0


def _await_word(process: Process, word: str) -> None:
    until(lambda: word in process.output(), WAIT, repr(word), detail=process.output)


def _say(vmnet: Vmnet, process: Process, *arguments: str) -> str:
    entered = ("nsenter", "-t", str(process.pid), "--net", "--pid", "--mount")
    return run(*entered, *VMNET, *arguments, env=vmnet.environ, check=False).stdout


def _ask(vmnet: Vmnet, process: Process, *arguments: str) -> Any:
    return json.loads(_say(vmnet, process, *arguments))


def _reason(vmnet: Vmnet, process: Process) -> str:
    return str(_ask(vmnet, process, "health", "--json")["reason"])


def _default(container: Namespace) -> list[str]:
    """Return the devices of the IPv4 default routes."""
    return [route["dev"] for route in container.routes() if route["dst"] == "default"]
