"""A network configuration becomes what a plugin reads; what is wrong with one is said."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import vmnet_ipam_cni as cni
from vmnet_ipam_cni import network

from vmnet import testing
from vmnet.api import SettingsError

IPAM = {"type": "host-local", "subnet": "10.5.0.0/24"}
README = Path(__file__).parents[1] / "README.md"


def document(**changes: Any) -> str:
    whole = {"cniVersion": "1.0.0", "name": "pool", "type": "bridge", "ipam": IPAM}
    return json.dumps({**whole, **changes})


def test_a_plugins_configuration_is_passed_on_whole() -> None:
    found = network.read(document(mtu=1400), {})
    assert found.plugin == "host-local"
    assert found.checks
    assert found.document == json.loads(document(mtu=1400))


def test_of_a_list_the_first_with_an_ipam_section_counts() -> None:
    plugins = [{"type": "tuning", "ipam": {}}, {"type": "bridge", "ipam": IPAM, "capabilities": {}}]
    text = json.dumps({"cniVersion": "0.4.0", "name": "pool", "plugins": plugins})
    found = network.read(text, {})
    assert found.document == {
        "cniVersion": "0.4.0",
        "name": "pool",
        "type": "bridge",
        "ipam": IPAM,
    }


def test_capabilities_that_are_declared_become_the_runtime_s_configuration() -> None:
    text = document(capabilities={"ips": True, "mac": False})
    assert network.read(text, {"ips": ["10.5.0.9/24"]}).document["runtimeConfig"] == {
        "ips": ["10.5.0.9/24"]
    }
    assert "runtimeConfig" not in network.read(text, {}).document
    for undeclared in ("mac", "bandwidth"):
        with pytest.raises(ValueError, match=f"does not declare the capability '{undeclared}'"):
            network.read(text, {undeclared: 1})


@pytest.mark.parametrize(
    ("changes", "version"),
    [
        ({"cniVersion": "0.4.0"}, "0.4.0"),
        ({"cniVersion": "1.1.0", "cniVersions": ["0.4.0", "1.0.0", "1.1.0"]}, "1.0.0"),
        ({"cniVersion": "0.4.0", "cniVersions": ["0.3.1"]}, "0.4.0"),
    ],
)
def test_the_highest_version_of_both_sides(changes: dict[str, Any], version: str) -> None:
    assert network.read(document(**changes), {}).version == version


@pytest.mark.parametrize(
    ("changes", "checks"),
    [({}, True), ({"disableCheck": True}, False), ({"ipam": {"type": "dhcp"}}, False)],
)
def test_check_can_be_disabled_and_is_for_dhcp(changes: dict[str, Any], checks: bool) -> None:
    assert network.read(document(**changes), {}).checks is checks


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it is not JSON"),
        ("{", "it is not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("[]", "not a JSON object"),
        (document(ipam=None), "it has no ipam section"),
        (document(ipam={}), "it has no ipam section"),
        (document(plugins=[]), "it has no ipam section"),
        (document(plugins={}), '"plugins" is not a list'),
        (document(name=None), '"name" is not'),
        (document(name="../pool"), '"name" is not'),
        (document(ipam={"type": "../../bin/sh"}), '"type" of its ipam section'),
        (document(ipam={"type": 7}), '"type" of its ipam section'),
        (document(cniVersion=None), '"cniVersion" is null, where 0.4.0 and 1.0.0 are spoken'),
        (document(cniVersion="1.1.0"), '"cniVersion" is "1.1.0", where'),
        (document(cniVersion={}), '"cniVersion" is {}, where'),
    ],
)
def test_what_is_wrong_is_said(text: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "net.conf"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        network.load(path, {})
    assert f"VMNET_CNI_CONFIG={path}: " in caught.value.message
    assert reason in caught.value.message


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="absent: No such file or directory"):
        network.load(tmp_path / "absent", {})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CONFIG", "net.conf"),
        ("PATH", "/opt/cni/bin:bin"),
        ("PATH", ""),
        ("ARGS", "IP"),
        ("ARGS", "IP=10.1.0.1;"),
        ("ARGS", "IP=10.1.0.1\nX=1"),
        ("CAPABILITIES", "ips"),
        ("CAPABILITIES", "[]"),
        ("CAPABILITIES", "[" * 100_000),
        ("TIMEOUT", "0"),
        ("TIMEOUT", "forever"),
    ],
)
def test_settings_that_are_malformed(name: str, value: str) -> None:
    environ = {f"VMNET_CNI_{name}": value}
    if not value:  # counts as unset
        assert testing.settings(environ, *cni.vmnet_settings())[cni.PATH] == (
            Path("/opt/cni/bin"),
            Path("/usr/lib/cni"),
        )
        return
    with pytest.raises(SettingsError, match=f"VMNET_CNI_{name}="):
        testing.settings(environ, *cni.vmnet_settings())


def test_the_readme_has_every_variable_and_a_network_that_can_be_read() -> None:
    text = README.read_text()
    documented = re.findall(r"^\| `(VMNET_\w+)` \|", text, re.MULTILINE)
    assert documented == [row.name for row in cni.vmnet_settings()]
    for row in cni.vmnet_settings():
        assert row.default in text
    (shown,) = re.findall(r"^```json\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert network.read(shown, {}).plugin == "host-local"
    cni.pairs("IgnoreUnknown=1;IP=10.5.0.20")
    assert cni.capabilities('{"ips": ["10.5.0.20/24"]}') == {"ips": ["10.5.0.20/24"]}
