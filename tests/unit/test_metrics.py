"""`vmnet metrics`, with a stand-in for QEMU."""

from __future__ import annotations

import os
import re
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any

import pytest

from tests.lab.openmetrics import Samples, families, samples
from tests.unit import qmp, running
from tests.unit.interpreter import run
from vmnet import __version__, cli, testing
from vmnet.lifecycle import state
from vmnet.lifecycle.vm_record import GuestNic, Helper
from vmnet.net import device, ipv4, traffic
from vmnet.net.device import Device
from vmnet.net.traffic import Counters
from vmnet.running import guest_answers, processes, snapshot_lock
from vmnet.running.guest_answers import GuestAnswers
from vmnet.running.metrics import exposition, table
from vmnet.running.metrics.readings import Reading
from vmnet.supervision import pidfiles
from vmnet.supervision.log import Log

Capture = pytest.CaptureFixture[str]
IDENTITY = testing.identity()
BLOCK_STATISTICS = {
    "rd_bytes": 4096,
    "rd_operations": 2,
    "rd_total_time_ns": 1_500_000_000,
    "failed_rd_operations": 0,
    "wr_bytes": 512,
    "wr_operations": 1,
    "wr_total_time_ns": 250_000_000,
    "failed_wr_operations": 3,
    "flush_operations": 4,
    "timed_stats": [],
}


@pytest.fixture
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A VM with a guard that was restarted, and a dnsmasq that has ended."""
    state.save(tmp_path, IDENTITY, testing.wiring(IDENTITY))
    guard, dnsmasq = tmp_path / "guard.pid", tmp_path / "dnsmasq.pid"
    guard.write_text(str(os.getpid()))
    for _ in range(2):
        pidfiles.count_restart(str(guard), Log("text"))
    helpers = (Helper("dnsmasq", dnsmasq), Helper("the guard", guard))
    running.machine(tmp_path, helpers=helpers)

    def ask(nic: GuestNic, _seconds: float) -> GuestAnswers:
        return GuestAnswers(nic.name, answering=nic.addresses)

    tap = Device(7, "tap0", True, True, True, 0, "tun")
    monkeypatch.setattr(guest_answers, "ask", ask)
    monkeypatch.setattr(ipv4, "addresses", lambda _bridge: (IPv4Interface("169.254.1.2/32"),))
    monkeypatch.setattr(traffic, "counters", lambda: {"tap0": Counters(1000, 10, 2000, 20, 3)})
    monkeypatch.setattr(traffic, "filtered", lambda: {7: 5})
    monkeypatch.setattr(device, "devices", lambda: {7: tap})
    return {"VMNET_RUN_DIR": str(tmp_path), "NO_DHCP": "true"}


def answers(agent: Path) -> dict[str, Any]:
    unnamed = {"device": "", "stats": BLOCK_STATISTICS}
    return {
        "query-memory-size-summary": {"base-memory": 512 << 20, "plugged-memory": 0},
        "query-blockstats": [{"device": "disk0", "stats": BLOCK_STATISTICS}, unnamed],
        "query-chardev": [{"filename": f"unix:{agent},server=on", "frontend-open": True}],
    }


def measured(environ: dict[str, str], capsys: Capture, status: str = "running") -> Samples:
    folder = Path(environ["VMNET_RUN_DIR"])
    with qmp.qemu(folder / "qmp.sock", status) as qemu:
        qemu.answers = {**qemu.answers, **answers(folder / "agent.sock")}
        assert cli.main(("metrics",), environ) == 0
    return samples(capsys.readouterr().out)


def test_the_metrics_of_a_vm(environ: dict[str, str], capsys: Capture) -> None:
    found = measured(environ, capsys)
    assert found["vmnet_build_info", __version__] == 1
    assert found["vmnet_up",] == found["vmnet_guest_running",] == 1
    assert found["vmnet_qemu_info", "tcg", "10.0.2"] == 1
    assert found["vmnet_guest_memory_bytes",] == 512 << 20
    assert found["vmnet_guest_agent_up",] == 1
    assert found["vmnet_guest_answers", "eth0"] == 1
    assert found["vmnet_process_up", "qemu"] == found["vmnet_process_up", "guard"] == 1
    assert found["vmnet_process_up", "dnsmasq"] == 0
    assert found["vmnet_process_restarts_total", "guard"] == 2
    assert found["vmnet_process_restarts_total", "dnsmasq"] == 0
    assert found["vmnet_process_resident_memory_bytes", "qemu"] > 1 << 20
    assert found["vmnet_network_receive_bytes_total", "eth0"] == 2000
    assert found["vmnet_network_transmit_packets_total", "eth0"] == 10
    assert found["vmnet_filter_dropped_packets_total", "tap", "eth0"] == 5
    assert found["vmnet_disk_read_time_seconds_total", "disk0"] == 1.5
    assert found["vmnet_disk_write_errors_total", "disk0"] == 3
    assert not [key for key in found if key[0].startswith("vmnet_disk_") and key[1] != "disk0"]


def test_the_states_of_the_health_exclude_each_other(
    environ: dict[str, str], capsys: Capture
) -> None:
    found = measured(environ, capsys, "paused")
    assert found["vmnet_guest_running",] == 0
    assert found["vmnet_health", "unhealthy"] == 1
    assert sum(value for (name, *_), value in found.items() if name == "vmnet_health") == 1


def test_every_metric_is_documented_and_has_a_value(
    environ: dict[str, str], capsys: Capture
) -> None:
    """docs/metrics.md is generated from the table; only a lease needs more than this VM."""
    emitted = {name for name, *_ in measured(environ, capsys)}
    known = {metric.name for metric in table.METRICS}
    assert emitted <= known
    assert known - emitted == {"vmnet_guest_identity_received"}


def test_the_names_follow_the_conventions() -> None:
    """Of Prometheus: https://prometheus.io/docs/practices/naming/."""
    names = [metric.name for metric in table.METRICS]
    assert len(names) == len(set(names))
    for metric in table.METRICS:
        assert re.fullmatch(r"vmnet(_[a-z]+)+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert metric.name.endswith("_info") == (metric.kind == "info")
        assert metric.help.endswith(".")


def test_each_kind_is_parsed_with_its_help_and_unit() -> None:
    given = [
        Reading(table.BUILD, ("1.0",), 1),
        Reading(table.MEMORY, ('the keeper of "x"\n',), 5),
        Reading(table.CPU, ("qemu",), 0.25),
        *(Reading(table.HEALTH, (name,), name == "healthy") for name in ("healthy", "starting")),
    ]
    found = {family.name: family for family in families(exposition.text(given))}
    for metric in (table.BUILD, table.MEMORY, table.CPU, table.HEALTH):
        family = found[metric.family]
        assert (family.type, family.documentation) == (metric.kind, metric.help)
        assert family.unit == metric.unit
    (sample,) = found[table.MEMORY.family].samples
    assert sample.labels == {"process": 'the keeper of "x"\n'}


def test_without_a_vm(tmp_path: Path, capsys: Capture) -> None:
    assert cli.main(("metrics",), {"VMNET_RUN_DIR": str(tmp_path)}) == 0
    found = samples(capsys.readouterr().out)
    assert found["vmnet_up",] == 0
    assert found["vmnet_health", "starting"] == 1
    assert {name for name, *_ in found} == {"vmnet_build_info", "vmnet_up", "vmnet_health"}


def test_without_qemu_or_during_a_snapshot_the_rest_is_there(
    environ: dict[str, str], capsys: Capture
) -> None:
    assert cli.main(("metrics",), environ) == 0
    without = samples(capsys.readouterr().out)
    with snapshot_lock.locked(Path(environ["VMNET_RUN_DIR"])):
        during = measured(environ, capsys)
    for found in (without, during):
        assert found["vmnet_up",] == 1
        assert ("vmnet_guest_running",) not in found


def test_several_handovers_of_an_interface_are_one_value(
    environ: dict[str, str], capsys: Capture
) -> None:
    """IPv4 and IPv6 have a lease each, and the guest has received its addresses with both."""
    leases = Path(environ["VMNET_RUN_DIR"]) / "dnsmasq.leases"
    leases.write_text("")
    found = measured({**environ, "NO_DHCP": "false"}, capsys)
    name = IDENTITY.interfaces[0].name
    assert found["vmnet_guest_identity_received", name, "dnsmasq"] == 0


def test_a_missing_library_is_named() -> None:
    program = (
        "import sys; sys.modules['prometheus_client'] = None\n"
        "from vmnet import cli; from vmnet.errors import UsageError\n"
        "try: cli.main(['metrics'], {'VMNET_RUN_DIR': '/nonexistent'})\n"
        "except UsageError as error: print(error, error.hint)"
    )
    printed = run(program)
    assert "needs the Python package prometheus-client" in printed
    assert "[metrics]" in printed


def test_only_this_command_imports_the_library() -> None:
    """The library imports an HTTP server; nothing else of vmnet may need it."""
    program = (
        "import pkgutil, importlib, sys, vmnet.cli\n"
        "for module in pkgutil.iter_modules(vmnet.cli.__path__, 'vmnet.cli.'):\n"
        "    importlib.import_module(module.name)\n"
        "print(*sys.modules)"
    )
    loaded = run(program).split()
    assert "vmnet.cli.metrics" in loaded
    assert "prometheus_client" not in loaded


def test_a_process_that_has_ended_uses_nothing() -> None:
    own = processes.usage(os.getpid())
    assert own is not None
    assert own.memory > 1 << 20
    assert own.cpu > 0
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(pid, 0)
    assert processes.usage(pid) is None
