"""``vmnet hooks``: an installation without faults, and with each kind of broken plugin."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.lab.wait import WAIT
from tests.unit.test_discovery import distribution
from vmnet import __version__, hookspecs
from vmnet.hooks import stages

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "docs/hooks.schema.json").read_text())
HEAD = "from vmnet.hookspecs import hookimpl\n@hookimpl\n"
HANG = "import time\ntime.sleep(1000)\n"


def run_hooks(*arguments: str, site: Path | None = None, **environ: str) -> tuple[int, str, str]:
    """Run the command with the plugins in ``site``; return exit status, output and errors."""
    inherited = {k: v for k, v in os.environ.items() if k[:6] != "VMNET_" and k != "NO_DHCP"}
    path = {"PYTHONPATH": str(site)} if site else {}
    done = subprocess.run(
        (sys.executable, "-m", "vmnet", "hooks", *arguments),
        env={**inherited, **path, **environ},
        capture_output=True,
        text=True,
        timeout=WAIT,
    )
    return done.returncode, done.stdout, done.stderr


def document(site: Path | None = None, **environ: str) -> tuple[int, dict[str, Any]]:
    """Return the exit status and the JSON document, validated against the schema."""
    status, output, _ = run_hooks("--json", site=site, **environ)
    found: dict[str, Any] = json.loads(output)
    jsonschema.Draft202012Validator(SCHEMA).validate(found)
    return status, found


def stage(found: Mapping[str, Any], name: str) -> dict[str, Any]:
    (entry,) = (entry for entry in found["stages"] if entry["stage"] == name)
    return dict(entry)


def install(site: Path, name: str, source: str, distributed: str = "") -> None:
    module = f"vmnet_{name}{'_' if distributed else ''}"
    (site / f"{module}.py").write_text(source)
    distribution(site, distributed or f"vmnet-{name}", f"[vmnet]\n{name} = {module}\n")


def test_the_schema_is_valid() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_stages_and_hooks_in_the_order_of_the_calls() -> None:
    status, found = document()
    assert (status, found["problem"], found["broken"]) == (0, None, [])
    assert found["contract"] == list(hookspecs.CONTRACT)
    hooks = [hook["hook"] for stage in found["stages"] for hook in stage["hooks"]]
    assert hooks == list(stages.hooks())


def test_active_strategies_their_reason_and_the_alternatives() -> None:
    _, found = document(NO_DHCP="true")
    ipam = stage(found, "ipam")
    own = {"distribution": "vmnet-entrypoint", "version": __version__}
    assert ipam["active"] == [{"name": "nodhcp", "module": "vmnet_nodhcp", **own}]
    assert ipam["why"] == "NO_DHCP=true"
    assert {"VMNET_IPAM=cloudinit", "NO_DHCP=false VMNET_IPAM=dnsmasq"} <= {
        plugin["choose"] for plugin in ipam["others"]
    }
    (deliver,) = (hook for hook in ipam["hooks"] if hook["hook"] == "vmnet_ipam_deliver")
    assert deliver["active"] == ["nodhcp"]
    assert {"cloudinit", "dnsmasq"} <= set(deliver["others"])
    assert stage(found, "settings")["why"] == "vmnet calls every plugin"


@pytest.mark.parametrize("environ", [{}, {"NO_DHCP": "true"}, {"VMNET_IPAM": "cloudinit"}])
def test_the_listed_assignments_select_the_strategy(environ: dict[str, str]) -> None:
    _, found = document(None, **environ)
    others = [(plugin["name"], plugin["choose"]) for plugin in stage(found, "ipam")["others"]]
    assert len(others) >= 2
    for name, assignments in others:
        variables = dict(word.split("=") for word in assignments.split())
        status, chosen = document(None, **{**environ, **variables})
        assert status == 0, assignments
        assert name in {plugin["name"] for plugin in stage(chosen, "ipam")["active"]}


def test_the_text_output(tmp_path: Path) -> None:
    status, output, error = run_hooks(VMNET_IPAM="cloudinit,dnsmasq")
    assert (status, error) == (0, "")
    assert max(map(len, output.splitlines())) <= 100
    lines = [line.strip() for line in output.splitlines()]
    ours = f"(vmnet-entrypoint {__version__})"
    assert f"active  cloudinit {ours}, dnsmasq {ours}" in lines
    assert "why     VMNET_IPAM=cloudinit,dnsmasq" in lines
    assert "vmnet_ipam_deliver       cloudinit, dnsmasq" in lines
    assert "vmnet_devices  cloudinit" in lines


def test_a_hook_without_an_active_implementation() -> None:
    _, found = document()
    (devices,) = stage(found, "devices")["hooks"]
    assert devices["active"] == []
    assert "cloudinit" in devices["others"]
    assert re.search("none active; implemented by (channel, )?cloudinit", run_hooks()[1])


BROKEN = {
    "import": ("1 / 0", "can't be imported: ZeroDivisionError"),
    "misspelt": (f"{HEAD}def vmnet_ipam_delivr(): ...", "unknown hook vmnet_ipam_delivr"),
    "argument": (f"{HEAD}def vmnet_ipam_deliver(colour): ...", "colour"),
    "newer": ("VMNET_CONTRACT = (1, 999)", "requires hook contract 1.999"),
    "settings": (f"{HEAD}def vmnet_settings(): return ['x']", "declares 'x' in vmnet_settings"),
    "raises": (f"{HEAD}def vmnet_settings(): return {{}}['x']", "failed in vmnet_settings"),
    "exits": ("import sys; sys.exit(0)", "can't be imported: SystemExit"),
    "hangs": (HANG, "can't be imported: it did not return within 1 s"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_is_shown_with_the_rest(name: str, tmp_path: Path) -> None:
    source, reason = BROKEN[name]
    install(tmp_path, name, source)
    timeout = {"VMNET_HOOK_TIMEOUT": "1"} if name == "hangs" else {}
    status, found = document(tmp_path, **timeout)
    assert status == 11
    (broken,) = found["broken"]
    assert (broken["name"], broken["distribution"]) == (name, f"vmnet-{name}")
    assert reason in broken["reason"]
    assert broken["hint"]
    assert found["problem"]["message"] == broken["reason"]
    assert stage(found, "ipam")["active"][0]["name"] == "dnsmasq", "the other plugins are listed"


def test_two_distributions_with_the_same_plugin_name(tmp_path: Path) -> None:
    install(tmp_path, "nfs", f"{HEAD}def vmnet_ipam_deliver(): ...")
    install(tmp_path, "nfs", "", distributed="other-nfs")
    status, found = document(tmp_path)
    assert status == 11
    (broken,) = found["broken"]
    assert {"other-nfs", "vmnet-nfs"} <= set(broken["reason"].split())


def test_the_text_output_shows_broken_plugins(tmp_path: Path) -> None:
    install(tmp_path, "nfs", "1 / 0")
    status, output, error = run_hooks(site=tmp_path)
    assert status == 11
    assert max(map(len, output.splitlines())) <= 100
    shown = output[output.index("broken: ") :]
    assert "nfs (vmnet-nfs 1.0)" in shown
    assert "pip uninstall vmnet-nfs" in shown
    assert error.startswith("vmnet: error: plugin nfs (vmnet-nfs 1.0) can't be imported")


@pytest.mark.parametrize(
    ("environ", "status", "message"),
    [
        ({"VMNET_IPAM": "dnsmask"}, 10, "there is no strategy dnsmask"),
        ({"NO_DHCP": "1", "VMNET_IPAM": "dnsmasq"}, 10, "contradict each other"),
        ({"VMNET_CPUS": "none"}, 10, "VMNET_CPUS=none is not"),
        ({"VMNET_MEMROY": "1G"}, 10, "unknown variable VMNET_MEMROY"),
    ],
)
def test_an_environment_that_selects_no_strategies(
    environ: dict[str, str], status: int, message: str
) -> None:
    """The errors of a start refer to this command, so it lists what is installed."""
    got, found = document(None, **environ)
    assert got == status == found["problem"]["exit_code"]
    assert message in found["problem"]["message"]
    assert "VMNET_IPAM=cloudinit" in {plugin["choose"] for plugin in stage(found, "ipam")["others"]}
