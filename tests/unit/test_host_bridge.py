"""``vmnet host-bridge``: files for each network system, and Docker's kept settings."""

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
DHCP = Layout("eth0", "br0")  # for another host, so the MAC is unknown
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
def test_the_netplan_file_is_valid_yaml(layout: Layout) -> None:
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


def test_other_settings_in_daemon_json_are_kept() -> None:
    own = {"bridge": "br0", "fixed-cidr": "192.0.2.240/28"}
    kept = json.loads(daemon_json(DHCP, '{"log-driver": "journald", "bridge": "old"}', FREE))
    assert kept == {"log-driver": "journald", **own}
    assert json.loads(daemon_json(DHCP, "", FREE)) == own


@pytest.mark.parametrize("text", ["{", "[]", '{"bip": "10.0.0.1/24"}'])
def test_an_unsuitable_daemon_json_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"daemon\.json"):
        daemon_json(DHCP, text, FREE)


@given(st.text())
def test_names_and_macs_have_only_harmless_characters(text: str) -> None:
    """A name can't inject a line into a file."""
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
    """The script equals the golden file, and its syntax is valid."""
    text = script(STATIC, network_system, daemon_json(STATIC, "", FREE))
    assert text == golden(GOLDEN / f"{network_system}-script.txt", text)
    for checked in (text, script(DHCP, network_system, "")):
        done = subprocess.run(
            ("sh", "-n"), input=checked, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")


def test_the_script_without_docker(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["host-bridge", "--nic", "ens3", "--no-docker"], {}) == 0
    output = capsys.readouterr().out
    assert "bridge_ports ens3" in output
    assert "docker" not in output


def test_a_range_for_containers_is_required(capsys: pytest.CaptureFixture[str]) -> None:
    absent = ("--daemon-json", "/nonexistent")
    with pytest.raises(UsageError, match=r"--containers is missing: .* usually the router's"):
        cli.main(["host-bridge", *absent], {})
    own = ("--address", "192.0.2.10/24", "--containers", str(FREE), "--json")
    assert cli.main(["host-bridge", *absent, *own], {}) == 0
    files = json.loads(capsys.readouterr().out)
    assert json.loads(files["/etc/docker/daemon.json"])["fixed-cidr"] == str(FREE)


@pytest.mark.parametrize("network_system", FORMATS)
def test_the_bridge_gets_the_nics_mac(
    network_system: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """If the MAC is unknown, vmnet prints a warning; ifupdown looks it up itself."""
    absent = ("--no-docker", "--format", network_system)

    def printed(*options: str) -> tuple[str, str]:
        assert cli.main(["host-bridge", "--nic", "nic-elsewhere", *absent, *options], {}) == 0
        found = capsys.readouterr()
        return found.out, found.err

    out, err = printed()
    if network_system == "ifupdown":
        assert "bridge_hw nic-elsewhere\n" in out
        assert not err
    else:
        assert "the MAC of nic-elsewhere, unknown here" in out
        assert "the MAC of nic-elsewhere is unknown on this machine" in err
    for mac in ("02:42:AC:11:00:02", "02:42:ac:11:00:02"):
        out, err = printed("--mac", mac)
        assert "02:42:ac:11:00:02" in out
        assert not err


def test_a_nic_without_a_mac() -> None:
    assert nic_mac("lo") == ""
    assert nic_mac("nic-elsewhere") == ""
