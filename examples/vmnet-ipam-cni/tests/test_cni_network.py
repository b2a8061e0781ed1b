"""Conversion of a network configuration to a plugin's input, and the errors in configurations."""

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
    configuration = {"cniVersion": "1.0.0", "name": "pool", "type": "bridge", "ipam": IPAM}
    return json.dumps({**configuration, **changes})


def test_a_plugin_s_configuration_is_passed_on_unchanged() -> None:
    read = network.read(document(mtu=1400), {})
    assert read.plugin == "host-local"
    assert read.checks
    assert read.document == json.loads(document(mtu=1400))


def test_the_first_plugin_of_a_list_with_an_ipam_section_is_used() -> None:
    plugins = [{"type": "tuning", "ipam": {}}, {"type": "bridge", "ipam": IPAM, "capabilities": {}}]
    text = json.dumps({"cniVersion": "0.4.0", "name": "pool", "plugins": plugins})
    read = network.read(text, {})
    assert read.document == {
        "cniVersion": "0.4.0",
        "name": "pool",
        "type": "bridge",
        "ipam": IPAM,
    }


def test_declared_capabilities_become_the_runtime_configuration() -> None:
    text = document(capabilities={"ips": True, "mac": False})
    assert network.read(text, {"ips": ["10.5.0.9/24"]}).document["runtimeConfig"] == {
        "ips": ["10.5.0.9/24"]
    }
    assert "runtimeConfig" not in network.read(text, {}).document
    for undeclared in ("mac", "bandwidth"):
        message = f"the capability '{undeclared}' of VMNET_CNI_CAPABILITIES is not declared"
        with pytest.raises(ValueError, match=message):
            network.read(text, {undeclared: 1})


@pytest.mark.parametrize(
    ("changes", "version"),
    [
        ({"cniVersion": "0.4.0"}, "0.4.0"),
        ({"cniVersion": "1.1.0", "cniVersions": ["0.4.0", "1.0.0", "1.1.0"]}, "1.0.0"),
        ({"cniVersion": "0.4.0", "cniVersions": ["0.3.1"]}, "0.4.0"),
    ],
)
def test_the_highest_common_version_is_used(changes: dict[str, Any], version: str) -> None:
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
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("[]", "not a JSON object"),
        (document(ipam=None), "there is no ipam section"),
        (document(ipam={}), "there is no ipam section"),
        (document(plugins=[]), "there is no ipam section"),
        (document(plugins={}), '"plugins" is not a list'),
        (document(name=None), '"name" has characters'),
        (document(name="../pool"), '"name" has characters'),
        (document(ipam={"type": "../../bin/sh"}), '"type" of the ipam section'),
        (document(ipam={"type": 7}), '"type" of the ipam section'),
        (document(cniVersion=None), '"cniVersion" is null, but only 0.4.0 and 1.0.0 are supported'),
        (document(cniVersion="1.1.0"), '"cniVersion" is "1.1.0", but only'),
        (document(cniVersion={}), '"cniVersion" is {}, but only'),
    ],
)
def test_errors_name_the_file_and_the_reason(text: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "net.conf"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        network.load(path, {})
    assert f"VMNET_CNI_CONFIG={path}: " in caught.value.message
    assert reason in caught.value.message


def test_a_missing_file(tmp_path: Path) -> None:
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
    (example,) = re.findall(r"^```json\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert network.read(example, {}).plugin == "host-local"
    cni.pairs("IgnoreUnknown=1;IP=10.5.0.20")
    assert cni.capabilities('{"ips": ["10.5.0.20/24"]}') == {"ips": ["10.5.0.20/24"]}
