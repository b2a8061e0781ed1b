"""``vmnet host-bridge`` writes what each network system takes, and keeps what is there."""

from __future__ import annotations

import configparser
import json
import subprocess
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, ip_address
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from vmnet import cli
from vmnet.errors import UsageError
from vmnet.host_bridge.inspection import nic_mac
from vmnet.host_bridge.layout import FORMATS, Layout, daemon_json, render, script
from vmnet.settings.values import is_interface, is_mac
from vmnet.testing import golden

GOLDEN = Path(__file__).with_name("golden_host_bridge")
FREE = IPv4Network("192.0.2.240/28")
DHCP = Layout("eth0", "br0")  # on a host that is not this one: its MAC is not known
STATIC = Layout(
    "enp1s0",
    "br-lan",
    "02:42:ac:11:00:02",
    IPv4Interface("192.0.2.10/24"),
    IPv4Address("192.0.2.1"),
    (ip_address("192.0.2.53"), ip_address("192.0.2.54")),
)


@pytest.mark.parametrize("network_system", FORMATS)
@pytest.mark.parametrize(("name", "layout"), [("dhcp", DHCP), ("static", STATIC)])
def test_golden(network_system: str, name: str, layout: Layout) -> None:
    files = render(layout, network_system)
    text = "\n".join(f"# {path}\n{content}" for path, content in files.items())
    assert text == golden(GOLDEN / f"{network_system}-{name}.txt", text)


@pytest.mark.parametrize("layout", [DHCP, STATIC])
def test_netplan_is_the_yaml_that_was_meant(layout: Layout) -> None:
    text = render(layout, "netplan")[f"/etc/netplan/60-{layout.bridge}.yaml"]
    bridge = yaml.safe_load(text)["network"]["bridges"][layout.bridge]
    assert bridge["interfaces"] == [layout.nic]
    assert bridge["dhcp4"] is (layout.address is None)
    assert bridge.get("addresses", []) == ([str(layout.address)] if layout.address else [])


@pytest.mark.parametrize("network_system", ["networkd", "networkmanager"])
def test_ini_files_parse(network_system: str) -> None:
    for text in render(STATIC, network_system).values():
        parser = configparser.ConfigParser(strict=False, interpolation=None)
        parser.read_string(text)
        assert parser.sections()


def test_what_daemon_json_holds_is_kept() -> None:
    own = {"bridge": "br0", "fixed-cidr": "192.0.2.240/28"}
    kept = json.loads(daemon_json(DHCP, '{"log-driver": "journald", "bridge": "old"}', FREE))
    assert kept == {"log-driver": "journald", **own}
    assert json.loads(daemon_json(DHCP, "", FREE)) == own


@pytest.mark.parametrize("text", ["{", "[]", '{"bip": "10.0.0.1/24"}'])
def test_a_daemon_json_that_can_not_take_it_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"daemon\.json"):
        daemon_json(DHCP, text, FREE)


@given(st.text())
def test_no_name_breaks_out(text: str) -> None:
    """What passes as a name is made of harmless characters, whatever the file."""
    harmless = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    assert not is_interface(text) or (len(text) <= 15 and set(text) <= harmless)
    assert not is_mac(text) or set(text) <= set("0123456789abcdefABCDEF:")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--nic", "eth0\nauto evil"),
        ("--bridge", "sixteen-letters-"),
        ("--mac", "02:42"),
        ("--address", "192.0.2.300/24"),
        ("--gateway", "fe80::1"),
        ("--address", "192.0.2.10"),
        ("--address", "192.0.2.0/24"),
        ("--address", "192.0.2.255/24"),
        ("--gateway", "192.0.2.1"),
        ("--gateway", "192.0.3.1", "--address", "192.0.2.10/24"),
        ("--gateway", "192.0.2.10", "--address", "192.0.2.10/24"),
        ("--bridge", "eth0"),
        ("--containers", "192.0.2.10/24"),
        ("--containers", "192.0.3.0/28", "--address", "192.0.2.10/24"),
        ("--containers", "192.0.2.0/24", "--address", "192.0.2.10/24"),
        ("--containers", "192.0.2.0/28", "--address", "192.0.2.10/24"),
        ("--containers", "192.0.2.0/29", "--address", "192.0.2.10/24", "--gateway", "192.0.2.1"),
        ("--containers",),
        ("--nic", "no such"),
        ("--nameserver", "dns"),
        ("--format", "wicked"),
    ],
)
def test_bad_options_are_refused(arguments: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match=arguments[0]):
        cli.main(["host-bridge", *arguments], {})


@pytest.mark.parametrize("network_system", FORMATS)
def test_the_script(network_system: str) -> None:
    """Golden, and read by a shell that carries out nothing."""
    text = script(STATIC, network_system, daemon_json(STATIC, "", FREE))
    assert text == golden(GOLDEN / f"{network_system}-script.txt", text)
    for one in (text, script(DHCP, network_system, "")):
        done = subprocess.run(("sh", "-n"), input=one, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_the_script_without_docker(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["host-bridge", "--nic", "ens3", "--no-docker"], {}) == 0
    said = capsys.readouterr().out
    assert "bridge_ports ens3" in said
    assert "docker" not in said


def test_a_range_for_containers_is_demanded(capsys: pytest.CaptureFixture[str]) -> None:
    absent = ("--daemon-json", "/nonexistent")
    with pytest.raises(UsageError, match=r"--containers is missing: .* usually the router's"):
        cli.main(["host-bridge", *absent], {})
    own = ("--address", "192.0.2.10/24", "--containers", str(FREE), "--json")
    assert cli.main(["host-bridge", *absent, *own], {}) == 0
    files = json.loads(capsys.readouterr().out)
    assert json.loads(files["/etc/docker/daemon.json"])["fixed-cidr"] == str(FREE)


@pytest.mark.parametrize("network_system", FORMATS)
def test_the_mac_is_the_nics(network_system: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As far as it is known; ifupdown is told to look."""
    absent = ("--no-docker", "--format", network_system)

    def said(*options: str) -> tuple[str, str]:
        assert cli.main(["host-bridge", "--nic", "nic-elsewhere", *absent, *options], {}) == 0
        found = capsys.readouterr()
        return found.out, found.err

    out, err = said()
    if network_system == "ifupdown":
        assert "bridge_hw nic-elsewhere\n" in out
        assert not err
    else:
        assert "the MAC of nic-elsewhere, unknown here" in out
        assert "the MAC of nic-elsewhere is unknown on this machine" in err
    for mac in ("02:42:AC:11:00:02", "02:42:ac:11:00:02"):
        out, err = said("--mac", mac)
        assert "02:42:ac:11:00:02" in out
        assert not err


def test_a_nic_without_a_mac_of_its_own() -> None:
    assert nic_mac("lo") == ""
    assert nic_mac("nic-elsewhere") == ""
