"""The protocol, with conforming and misbehaving programs."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vmnet_ipam_cni import network, plugin
from vmnet_ipam_cni.network import Network
from vmnet_ipam_cni.plugin import Plugin

from tests.lab.ipam.cni import Lab, lab, result
from tests.lab.wait import WAIT, until
from vmnet.api import AllocationError, Answer

__all__ = ["lab"]

PARAMETERS = {"CNI_CONTAINERID": "web-1", "CNI_IFNAME": "eth0", "CNI_NETNS": "/proc/1/ns/net"}


def scripted(lab: Lab, script: str, seconds: int = 30) -> tuple[Plugin, Network]:
    lab.scripted(script)
    configured = network.load(lab.config, {})
    return plugin.find("scripted", (lab.folder / "bin",), seconds), configured


def test_the_environment_and_document_of_a_call(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNI_ARGS", "LEFT=over")
    program, configured = scripted(lab, f"print(json.dumps({result('10.5.0.2/24')!r}))")
    added = program.add(configured, PARAMETERS)
    program.check(configured, PARAMETERS, added)
    program.delete(configured, PARAMETERS, added)
    program.delete(configured, PARAMETERS, None)
    add, check, delete, unseen = lab.calls()
    assert add["environ"] == {
        **PARAMETERS,
        "CNI_COMMAND": "ADD",
        "CNI_PATH": str(lab.folder / "bin"),
        "CNI_NETNS_OVERRIDE": "true",
    }
    assert add["stdin"] == unseen["stdin"] == configured.document
    assert check["stdin"] == delete["stdin"] == {**configured.document, "prevResult": added}
    assert added == result("10.5.0.2/24")


@pytest.mark.parametrize("name", ["host-local", "static", "dhcp"])
def test_debian_s_plugins_support_both_versions(name: str) -> None:
    program = plugin.find(name, (Path("/opt/cni/bin"), Path("/usr/lib/cni")), 30)
    for version in network.VERSIONS:
        program.require_version(version)
    with pytest.raises(AllocationError) as caught:
        program.require_version("9.0.0")
    assert caught.value.message.startswith(f"/usr/lib/cni/{name} supports CNI 0.1.0, ")
    assert caught.value.message.endswith("1.0.0, not 9.0.0")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (
            'print(\'{"code": 7, "msg": "bad\\\\nnet", "details": "10.0.0.0/31"}\'); sys.exit(1)',
            "refuses ADD for eth0: bad net: 10.0.0.0/31 (code 7)",
        ),
        ('print(\'{"code": 999, "msg": "late"}\')', "refuses ADD for eth0: late (code 999)"),
        ('print(\'{"code": {}, "msg": []}\'); sys.exit(2)', "ADD for eth0: no reason (code {})"),
        (
            'print("why\\nnot", file=sys.stderr); sys.exit(4)',
            "with status 4 in ADD for eth0: why not",
        ),
        ("sys.exit(4)", "ended with status 4 in ADD for eth0: no message"),
        ("os.kill(os.getpid(), 11)", "was killed by signal 11 in ADD for eth0"),
        ("pass", "returned no valid result for ADD for eth0: no output"),
        ('print("{")', "no valid result for ADD for eth0: {"),
        ('print("[" * 100000)', "no valid result for ADD for eth0: [["),
        ("print([1])", "no valid result for ADD for eth0: [1]"),
        (
            'sys.stdout.buffer.write(b"\\xff\\x1b[2J")',
            "no valid result for ADD for eth0: \ufffd [2J",
        ),
        ('print("{" + " " * (1 << 20) + "}")', "no valid result for ADD for eth0: { }"),
    ],
)
def test_errors_contain_the_plugin_s_text_on_one_line(lab: Lab, script: str, reason: str) -> None:
    program, configured = scripted(lab, script)
    with pytest.raises(AllocationError) as caught:
        program.add(configured, PARAMETERS)
    assert caught.value.message.startswith("scripted ")
    assert reason in caught.value.message
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 500
    assert caught.value.hint


def test_a_temporary_error(lab: Lab) -> None:
    program, configured = scripted(lab, 'print(\'{"code": 11, "msg": "busy"}\'); sys.exit(1)')
    with pytest.raises(AllocationError) as caught:
        program.add(configured, PARAMETERS)
    assert caught.value.hint == "the error is temporary: start the container again"


def test_a_hanging_plugin_is_killed_with_its_children(lab: Lab) -> None:
    pids = lab.folder / "pids"
    program, configured = scripted(
        lab,
        "import subprocess\nchild = subprocess.Popen(['sleep', '60'])\n"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\nchild.wait()",
        seconds=5,  # to start both
    )
    started = time.monotonic()
    with pytest.raises(AllocationError) as caught:
        program.add(configured, PARAMETERS)
    assert time.monotonic() - started < 60
    assert caught.value.message.endswith("did not answer ADD for eth0 within 5 s")
    assert "VMNET_CNI_TIMEOUT" in caught.value.hint
    for pid in map(int, pids.read_text().split()):
        until(lambda pid=pid: not _runs(pid), WAIT, f"the end of {pid}")  # type: ignore[misc]


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_an_unknown_container_has_nothing_to_release(lab: Lab) -> None:
    program, configured = scripted(lab, 'print(\'{"code": 3, "msg": "unknown"}\'); sys.exit(1)')
    program.delete(configured, PARAMETERS, None)
    with pytest.raises(AllocationError, match=r"refuses CHECK for eth0: unknown \(code 3\)"):
        program.check(configured, PARAMETERS, {})


def test_a_program_that_cannot_be_executed(lab: Lab) -> None:
    program, configured = scripted(lab, "")
    program.program.write_bytes(b"\x7fELF but not really")
    with pytest.raises(AllocationError, match=r"can't run .*/scripted: Exec format error"):
        program.add(configured, PARAMETERS)
    program.program.chmod(0o644)
    with pytest.raises(AllocationError) as caught:
        plugin.find("scripted", (lab.folder / "bin",), 30)
    assert caught.value.message.startswith("there is no CNI plugin scripted in VMNET_CNI_PATH=")
    assert "containernetworking-plugins" in caught.value.hint


@pytest.mark.parametrize("output", ["", "{", "[]", '{"supportedVersions": "1.0.0"}'])
def test_a_plugin_that_reports_no_versions(lab: Lab, output: str) -> None:
    program, _ = scripted(lab, "")
    program.program.write_text(f"#!/bin/sh\ncat >/dev/null\nprintf '%s' '{output}'\n")
    with pytest.raises(AllocationError, match="scripted returned no valid result for VERSION"):
        program.require_version("1.0.0")


@given(st.text(), st.text(), st.integers(-64, 255))
def test_any_output_becomes_one_line(stdout: str, stderr: str, status: int) -> None:
    program = Plugin("any", Path("/bin/any"), (), 1)
    error = program._refusal(Answer(status, stdout, stderr), "ADD", PARAMETERS)
    assert error.message.isprintable()
    assert os.linesep not in error.hint
