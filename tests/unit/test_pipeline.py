"""The order of the stages, recorded by an installed plugin that the environment selects."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit import recorder, recorder_second
from vmnet import pipeline, testing
from vmnet.errors import DeliveryError, LaunchError, MachineError, SettingsError
from vmnet.hooks.facade import Hooks
from vmnet.model.devices import Balloon, Channel
from vmnet.model.wiring import Requirements

INSTALLED = Path(__file__).with_name("installed")
PLANNING = [
    "vmnet_capture",
    "vmnet_ipam_requirements",
    "second: vmnet_ipam_requirements",
    "vmnet_bridge_plan",
    "vmnet_bridge_deliver",
    "vmnet_ipam_deliver",
    "second: vmnet_ipam_deliver",
    "vmnet_devices",
    "vmnet_launch_firmware",
    "vmnet_launch_command",
]
UNDONE = ["vmnet_bridge_build", "vmnet_launch", "vmnet_bridge_restore"]


pytestmark = pytest.mark.usefixtures("recording")


def test_planning(tmp_path: Path) -> None:
    hooks = recorder.select(tmp_path, VMNET_RECORDER_LABEL="x")
    assert recorder.calls() == ["vmnet_settings"]
    plan = pipeline.plan(hooks, ["-S"])
    assert recorder.calls() == ["vmnet_settings", *PLANNING]
    assert plan.identity == recorder.IDENTITY
    assert plan.wiring == recorder.WIRING
    assert [delivery.strategy for delivery in plan.deliveries] == [
        "recorder's bridge",
        "recorder",
        "second",
    ]
    assert plan.machine.devices[:-2] == (recorder.SEED,)
    assert [type(device) for device in plan.machine.devices[-2:]] == [Channel, Balloon]
    assert plan.command.argv == ("/bin/true", "-S")
    assert plan.not_carried == ("recorder: the weather",)


def test_the_users_own_firmware_replaces_the_chosen_one(tmp_path: Path) -> None:
    plan = pipeline.plan(recorder.select(tmp_path), ["-bios"])
    assert plan.machine.firmware.kind == "own"


def test_later_stages_get_the_results_of_earlier_ones(tmp_path: Path) -> None:
    pipeline.plan(recorder.select(tmp_path))
    given = dict(recorder.CALLS)
    assert given["vmnet_bridge_plan"]["identity"] is recorder.IDENTITY
    assert given["vmnet_bridge_plan"]["requirements"] == Requirements(contain=True, dns=True)
    assert given["second: vmnet_ipam_deliver"]["wiring"] == recorder.WIRING
    assert given["vmnet_devices"]["wiring"] == recorder.WIRING
    (nic,) = given["vmnet_launch_command"]["machine"].nics
    assert nic.mac == recorder.IDENTITY.interfaces[0].mac


def test_ipam_strategies_are_called_in_the_order_of_the_list(tmp_path: Path) -> None:
    plan = pipeline.plan(recorder.select(tmp_path, VMNET_IPAM="second,recorder"))
    assert [delivery.strategy for delivery in plan.deliveries[1:]] == ["second", "recorder"]


def test_the_forwarder_is_called_after_deliveries_that_serve_no_names(tmp_path: Path) -> None:
    pipeline.plan(recorder.select(tmp_path, VMNET_IPAM="second"))
    assert recorder.calls()[3:7] == [
        "vmnet_bridge_plan",
        "vmnet_bridge_deliver",
        "second: vmnet_ipam_deliver",
        "vmnet_forwarder",
    ]


def test_a_known_identity_is_not_captured_again(tmp_path: Path) -> None:
    known = (recorder.IDENTITY, recorder.WIRING)
    plan = pipeline.plan(recorder.select(tmp_path), known=known)
    assert "vmnet_capture" not in recorder.calls()
    assert "vmnet_bridge_plan" not in recorder.calls()
    assert (plan.identity, plan.wiring) == known


def test_planning_reports_the_strategies_that_did_not_allocate(tmp_path: Path) -> None:
    plan = pipeline.plan(recorder.select(tmp_path))
    assert "vmnet_ipam_allocate" not in recorder.calls()
    assert plan.unallocated == ("recorder", "second")


def test_without_an_address_planning_names_the_strategies_that_allocate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error from a delivering strategy would mislead the user."""
    bare = testing.identity(testing.interface())
    monkeypatch.setattr(Hooks, "capture", lambda hooks: bare)
    hooks = recorder.select(tmp_path)
    with pytest.raises(DeliveryError, match="recorder, second allocates addresses only at a start"):
        pipeline.plan(hooks)
    assert "vmnet_ipam_requirements" not in recorder.calls()
    assert pipeline.plan(hooks, allocate=lambda captured: recorder.ALLOCATED).unallocated == ()


def test_later_stages_get_the_allocated_identity(tmp_path: Path) -> None:
    hooks = recorder.select(tmp_path)
    plan = pipeline.plan(hooks, allocate=lambda captured: hooks.allocate("recorder", captured))
    assert recorder.calls()[1:4] == [
        "vmnet_capture",
        "vmnet_ipam_allocate",
        "vmnet_ipam_requirements",
    ]
    given = dict(recorder.CALLS)
    assert given["vmnet_ipam_allocate"]["identity"] is recorder.IDENTITY
    assert given["vmnet_bridge_plan"]["identity"] is recorder.ALLOCATED
    assert (plan.identity, plan.unallocated) == (recorder.ALLOCATED, ())


def test_a_missing_disk_is_found_before_the_network_is_read(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="there is no such file"):
        pipeline.plan(recorder.select(tmp_path, VMNET_DISK=str(tmp_path / "absent.qcow2")))
    assert recorder.calls() == ["vmnet_settings"]


@pytest.mark.parametrize("stage", ["vmnet_capture", "vmnet_bridge_plan", "vmnet_launch_command"])
def test_planning_ends_at_a_stage_that_fails(stage: str, tmp_path: Path) -> None:
    recorder.FAIL_AT.add(stage)
    with pytest.raises(LaunchError, match=f"{stage} is set to fail"):
        pipeline.plan(recorder.select(tmp_path))
    assert recorder.calls()[1:] == PLANNING[: PLANNING.index(stage) + 1]


def test_a_plugin_without_the_main_hook_is_no_strategy_of_a_stage(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no strategy second for this stage"):
        recorder.select(tmp_path, VMNET_CAPTURE="second")


def test_an_installed_plugin_without_the_main_hook_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a plugin for IPAM that only adds devices."""
    monkeypatch.delattr(recorder_second, "vmnet_ipam_deliver")
    monkeypatch.delattr(recorder_second, "vmnet_ipam_allocate")
    with pytest.raises(SettingsError) as caught:
        recorder.select(tmp_path)
    assert caught.value.message == (
        "VMNET_IPAM=recorder,second: there is no strategy second for this stage: the installed "
        "plugin second does not implement vmnet_ipam_deliver or vmnet_ipam_allocate"
    )
