"""The typed façade: arguments and result of each hook, and errors for the faults of plugins."""

from __future__ import annotations

import inspect
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from tests.unit import fakes
from tests.unit.fakes import Hook
from vmnet import hookspecs, testing
from vmnet.errors import BridgeError, CaptureError, PluginError, PrivilegeError, VmnetError
from vmnet.hooks import loading, stages
from vmnet.hooks.facade import Hooks
from vmnet.hooks.selection import Choice, Selection, select_from
from vmnet.hookspecs import hookimpl
from vmnet.model.delivery import Delivery, Handover
from vmnet.model.devices import Balloon, Cdrom
from vmnet.model.identity import Identity
from vmnet.model.machine import Command, Nic, NicChange
from vmnet.model.wiring import Requirements, Tap
from vmnet.net import arp
from vmnet.settings.table import optional, parse
from vmnet.settings.values import text

IDENTITY = testing.identity(hostname="captured")
ALLOCATED = evolve(IDENTITY, hostname="allocated")
WIRING = evolve(testing.wiring(IDENTITY), strategy="fake")
DNS_WIRING = testing.wiring(IDENTITY, nameserver="172.17.255.254/16")
MACHINE = testing.machine()
COMMAND = Command(("/usr/bin/qemu",))
ROW = optional("VMNET_FAKE_ROW", text, "a row of a plugin's own")
SEED = Cdrom(Path("/seed.iso"))
Patch = pytest.MonkeyPatch

# For each hook: a call by the façade, a valid result of the hook, and the façade's result.
CHANGE = NicChange("plug", Nic("hotplug0", "02:42:ac:12:00:02", 1500, Tap("tap1", (101,))), 0)
HANDOVER = Handover("eth0", None, "who knows")
CALLS: dict[str, tuple[Callable[[Hooks], Any], Any, Any]] = {
    "vmnet_capture": (lambda it: it.capture(), IDENTITY, IDENTITY),
    "vmnet_ipam_allocate": (
        lambda it: it.allocate("fake", IDENTITY),
        ALLOCATED,
        ALLOCATED,
    ),
    "vmnet_ipam_release": (lambda it: it.release("fake", IDENTITY), None, None),
    "vmnet_ipam_requirements": (
        lambda it: it.requirements(IDENTITY),
        Requirements(dns=True),
        Requirements(dns=True),
    ),
    "vmnet_bridge_plan": (lambda it: it.plan_bridge(IDENTITY, Requirements()), WIRING, WIRING),
    "vmnet_bridge_deliver": (
        lambda it: it.deliver(IDENTITY, WIRING),
        Delivery("one"),
        (Delivery("one"), Delivery("fake")),
    ),
    "vmnet_ipam_deliver": (
        lambda it: it.deliver(IDENTITY, WIRING),
        Delivery("one"),
        (Delivery("one"),),
    ),
    "vmnet_ipam_status": (
        lambda it: it.status(IDENTITY, WIRING),
        (HANDOVER,),
        (("fake", HANDOVER),),
    ),
    "vmnet_devices": (lambda it: it.devices(IDENTITY, WIRING), (SEED,), (SEED,)),
    "vmnet_launch_firmware": (lambda it: it.own_firmware(("-S",)), "-bios", "-bios"),
    "vmnet_launch_command": (lambda it: it.launch_command(MACHINE, ("-S",)), COMMAND, COMMAND),
    "vmnet_bridge_extend": (
        lambda it: it.extend_bridge(IDENTITY, Requirements(), WIRING),
        WIRING,
        WIRING,
    ),
    "vmnet_bridge_change": (
        lambda it: it.change_bridge(IDENTITY, Requirements(), WIRING),
        WIRING,
        WIRING,
    ),
    "vmnet_bridge_rejoin": (lambda it: it.rejoin_bridge(WIRING), True, None),
    "vmnet_bridge_build": (lambda it: it.build_bridge(WIRING), True, None),
    "vmnet_bridge_restore": (lambda it: it.restore_bridge(WIRING), True, None),
    "vmnet_launch": (lambda it: it.launch(COMMAND), None, None),
    "vmnet_launch_change": (lambda it: it.change_nic(COMMAND, CHANGE), True, None),
}
# Tested separately below: fakes.choose calls the first, another strategy implements the second.
SEPARATE = {"vmnet_settings", "vmnet_forwarder"}
PARAMETERS = {
    "settings": "settings",
    "identity": IDENTITY,
    "requirements": Requirements(),
    "wiring": WIRING,
    "machine": MACHINE,
    "arguments": ("-S",),
    "command": COMMAND,
    "change": CHANGE,
}


def specifications() -> dict[str, Callable[..., Any]]:
    return {name: getattr(stage.specs, name) for stage in stages.STAGES for name in stage.hooks}


def parameters(hook: str) -> tuple[str, ...]:
    return tuple(inspect.signature(specifications()[hook]).parameters)


def implementation(hook: str, body: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap ``body`` in a function with the parameters of a hook, which pluggy inspects."""
    names = parameters(hook)
    by_name = ", ".join(f"{name}={name}" for name in names)
    source = f"lambda {', '.join(names)}: body({by_name})"
    function: Callable[..., Any] = eval(source, {"body": body})
    return function


def failing(hook: str, error: BaseException) -> Callable[..., Any]:
    def body(**_: Any) -> Any:
        raise error

    return implementation(hook, body)


def test_every_hook_is_tested_here() -> None:
    assert set(CALLS) | SEPARATE == set(specifications())


@pytest.mark.parametrize("hook", CALLS)
def test_a_hook_gets_its_arguments_and_its_result_is_returned(
    hook: str, monkeypatch: Patch
) -> None:
    call, result, facade_result = CALLS[hook]
    received: dict[str, Any] = {}

    def body(**given: Any) -> Any:
        received.update(given)
        return result

    stages = fakes.stages(monkeypatch, **{hook: implementation(hook, body)})
    assert call(stages) == facade_result
    expected = {name: PARAMETERS[name] for name in parameters(hook)}
    assert received == {**expected, "settings": stages.settings}


@pytest.mark.parametrize("hook", CALLS)
def test_an_exception_of_a_hook_becomes_a_plugin_error(hook: str, monkeypatch: Patch) -> None:
    stages = fakes.stages(monkeypatch, **{hook: failing(hook, KeyError("colour"))})
    with pytest.raises(PluginError) as caught:
        CALLS[hook][0](stages)
    assert (
        caught.value.message == f"plugin fake (vmnet-fake 1.0) failed in {hook}: KeyError: 'colour'"
    )
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize("hook", CALLS)
def test_a_vmnet_error_of_a_hook_is_raised_unchanged(hook: str, monkeypatch: Patch) -> None:
    error = CaptureError("no address", "get one")
    stages = fakes.stages(monkeypatch, **{hook: failing(hook, error)})
    with pytest.raises(CaptureError) as caught:
        CALLS[hook][0](stages)
    assert caught.value is error


@pytest.mark.parametrize("hook", CALLS)
def test_a_result_of_the_wrong_type_is_refused(hook: str, monkeypatch: Patch) -> None:
    stages = fakes.stages(monkeypatch, **{hook: implementation(hook, lambda **_: b"surprise")})
    with pytest.raises(PluginError) as caught:
        CALLS[hook][0](stages)
    assert caught.value.message == f"plugin fake (vmnet-fake 1.0) returned bytes from {hook}"
    assert "docs/hooks.md" in caught.value.hint


def test_a_wrong_type_within_a_result_is_the_plugins_fault(monkeypatch: Patch) -> None:
    wrong: Any = {"hostname": 5}
    result = lambda **_: evolve(IDENTITY, **wrong)  # noqa: E731
    stages = fakes.stages(monkeypatch, vmnet_capture=implementation("vmnet_capture", result))
    with pytest.raises(PluginError) as caught:
        stages.capture()
    assert caught.value.message == (
        "plugin fake (vmnet-fake 1.0) returned a wrong value from vmnet_capture: "
        "Identity.hostname is int, not str"
    )


REQUIRED = (
    *("vmnet_capture", "vmnet_bridge_plan", "vmnet_launch_command", "vmnet_bridge_build"),
    "vmnet_ipam_deliver",
)


@pytest.mark.parametrize("hook", REQUIRED)
def test_none_from_a_hook_that_must_return_a_result(hook: str, monkeypatch: Patch) -> None:
    stages = fakes.stages(monkeypatch, **{hook: implementation(hook, lambda **_: None)})
    with pytest.raises(PluginError) as caught:
        CALLS[hook][0](stages)
    assert caught.value.message == f"plugin fake (vmnet-fake 1.0) returned nothing from {hook}"


@pytest.mark.parametrize("hook", ["vmnet_capture", "vmnet_bridge_plan", "vmnet_launch_command"])
def test_a_result_in_a_list_has_the_wrong_type(hook: str, monkeypatch: Patch) -> None:
    result = CALLS[hook][1]
    stages = fakes.stages(monkeypatch, **{hook: implementation(hook, lambda **_: [result])})
    with pytest.raises(PluginError, match="returned list"):
        CALLS[hook][0](stages)


@pytest.mark.parametrize(
    ("hook", "result"),
    [
        ("vmnet_ipam_allocate", IDENTITY),
        ("vmnet_ipam_requirements", Requirements()),
        ("vmnet_ipam_status", ()),
        ("vmnet_devices", ()),
    ],
)
def test_none_means_nothing_to_contribute(hook: str, result: object, monkeypatch: Patch) -> None:
    stages = fakes.stages(monkeypatch, **{hook: implementation(hook, lambda **_: None)})
    assert CALLS[hook][0](stages) == result


def test_a_strategy_without_a_hook_of_its_stage(monkeypatch: Patch) -> None:
    lacking = {name: hook for name, hook in fakes.GOOD.items() if name != "vmnet_bridge_build"}
    plugins = [
        fakes.install(monkeypatch, "able", **fakes.GOOD),
        fakes.install(monkeypatch, "lacking", **lacking),
    ]
    stages = fakes.choose(plugins, "lacking")
    with pytest.raises(PluginError) as caught:
        stages.build_bridge(evolve(WIRING, strategy="lacking"))
    assert caught.value.message == (
        "plugin lacking (vmnet-lacking 1.0) does not implement vmnet_bridge_build, "
        "which its stage needs"
    )
    assert caught.value.hint == "plugins that implement it: able"


def test_a_strategy_that_allocates_must_release(monkeypatch: Patch) -> None:
    lacking = {name: hook for name, hook in fakes.GOOD.items() if name != "vmnet_ipam_release"}
    lacking["vmnet_ipam_allocate"] = failing("vmnet_ipam_allocate", AssertionError())
    stages = fakes.choose([fakes.install(monkeypatch, "lacking", **lacking)], "lacking")
    with pytest.raises(PluginError, match="does not implement vmnet_ipam_release"):
        stages.allocate("lacking", IDENTITY)


def test_an_allocator_that_cannot_release_is_refused_before_all_calls(monkeypatch: Patch) -> None:
    lacking = {name: hook for name, hook in fakes.GOOD.items() if name != "vmnet_ipam_release"}
    lacking["vmnet_ipam_allocate"] = failing("vmnet_ipam_allocate", AssertionError())
    stages = fakes.choose([fakes.install(monkeypatch, "lacking", **lacking)], "lacking")
    with pytest.raises(PluginError, match="does not implement vmnet_ipam_release"):
        _ = stages.allocators


def test_a_wrapper_of_other_plugins(monkeypatch: Patch) -> None:
    def wrapper(settings: object) -> Any:
        return (yield)

    plugin = fakes.install(monkeypatch, "fake")
    setattr(sys.modules[plugin.module], "vmnet_capture", hookimpl(wrapper=True)(wrapper))  # noqa: B010
    with pytest.raises(PluginError) as caught:
        loading.load([plugin])
    assert caught.value.message == (
        "plugin fake (vmnet-fake 1.0) defines vmnet_capture as a wrapper of other plugins"
    )


def test_an_allocation_keeps_the_interfaces(monkeypatch: Patch) -> None:
    other = evolve(IDENTITY, interfaces=(evolve(IDENTITY.interfaces[0], mac="02:00:00:00:00:09"),))
    stages = fakes.stages(
        monkeypatch, vmnet_ipam_allocate=implementation("vmnet_ipam_allocate", lambda **_: other)
    )
    with pytest.raises(PluginError) as caught:
        stages.allocate("fake", IDENTITY)
    assert caught.value.message == (
        "plugin fake (vmnet-fake 1.0) returned other interfaces from vmnet_ipam_allocate: "
        "eth0 02:00:00:00:00:09 instead of eth0 02:42:ac:11:00:02"
    )


@pytest.mark.parametrize(("interfaces", "limit"), [("", 60), ("eth0", 160)])
def test_a_capture_may_wait_for_interfaces_in_addition(
    interfaces: str, limit: int, monkeypatch: Patch
) -> None:
    left = []

    def capture() -> Identity:
        left.append(signal.getitimer(signal.ITIMER_REAL)[0])
        return IDENTITY

    hooks = fakes.stages(monkeypatch, vmnet_capture=capture)
    environ = {"VMNET_INTERFACES": interfaces, "VMNET_INTERFACES_TIMEOUT": "100"}
    evolve(hooks, settings=parse(environ, hooks.settings)).capture()
    assert limit - 50 < left[0] <= limit


def test_only_the_selected_strategy_is_called(monkeypatch: Patch) -> None:
    wrong = {hook: failing(hook, AssertionError(hook)) for hook in fakes.GOOD}
    plugins = [
        fakes.install(monkeypatch, "aaa", **wrong),
        fakes.install(monkeypatch, "fake", **fakes.GOOD),
        fakes.install(monkeypatch, "zzz", **wrong),
    ]
    stages = fakes.choose(plugins, "fake")
    for call, _, _ in CALLS.values():
        call(stages)


def plans(monkeypatch: Patch, first: Hook) -> Hooks:
    """Return stages with two bridge strategies, the second of which plans."""
    plugins = [
        fakes.install(monkeypatch, "fake", **fakes.GOOD),
        fakes.install(monkeypatch, "first", vmnet_bridge_plan=first),
    ]
    stages = fakes.choose(plugins, "fake")
    choices = {**stages.selection.choices, "VMNET_BRIDGE": Choice(("first", "fake"), "test")}
    return evolve(stages, selection=Selection(choices))


def test_a_bridge_strategy_without_a_privilege_leaves_the_wiring_to_the_next(
    monkeypatch: Patch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    lacking = failing("vmnet_bridge_plan", PrivilegeError("no NET_ADMIN", "grant it"))
    wiring = plans(monkeypatch, lacking).plan_bridge(IDENTITY, Requirements())
    assert wiring == WIRING
    assert "not wired by first: no NET_ADMIN" in caplog.text


def test_a_missing_privilege_that_a_setting_makes_unnecessary_ends_the_start(
    monkeypatch: Patch,
) -> None:
    """Otherwise the guest would lose the real NIC although NET_RAW alone is missing."""
    with pytest.raises(PrivilegeError) as caught:
        plans(monkeypatch, failing("vmnet_bridge_plan", arp.forbidden("eth0"))).plan_bridge(
            IDENTITY, Requirements()
        )
    assert "--cap-add NET_RAW`, or set VMNET_BRIDGE_ADDRESS" in caught.value.hint


def test_another_error_of_a_bridge_strategy_stops_the_start(monkeypatch: Patch) -> None:
    wrong = failing("vmnet_bridge_plan", BridgeError("br0 exists", "remove it"))
    with pytest.raises(BridgeError, match="br0 exists"):
        plans(monkeypatch, wrong).plan_bridge(IDENTITY, Requirements())


def test_the_last_bridge_strategy_must_have_its_privileges(monkeypatch: Patch) -> None:
    lacking = failing("vmnet_bridge_plan", PrivilegeError("no NET_ADMIN", "grant it"))
    stages = fakes.stages(monkeypatch, vmnet_bridge_plan=lacking)
    with pytest.raises(PrivilegeError, match="no NET_ADMIN"):
        stages.plan_bridge(IDENTITY, Requirements())


def test_every_plugin_declares_settings(monkeypatch: Patch) -> None:
    plugins = [
        fakes.install(monkeypatch, "other", vmnet_settings=lambda: [ROW]),
        fakes.install(monkeypatch, "fake", **fakes.GOOD),
    ]
    stages = fakes.choose(plugins, "fake")
    assert stages.settings[ROW] is None
    assert ROW.name in stages.settings.rows


def test_settings_that_are_not_a_list(monkeypatch: Patch) -> None:
    plugin = fakes.install(monkeypatch, "fake", vmnet_settings=lambda: {"VMNET_X": 1})
    with pytest.raises(PluginError, match=r"returned dict from vmnet_settings"):
        loading.load([plugin]).settings()


def test_settings_that_are_not_rows(monkeypatch: Patch) -> None:
    plugin = fakes.install(monkeypatch, "fake", vmnet_settings=lambda: ["VMNET_FAKE"])
    with pytest.raises(PluginError, match="vmnet_settings"):
        fakes.choose([plugin], "fake")


def test_a_forwarder_is_called_if_the_guest_needs_it(monkeypatch: Patch) -> None:
    plugins = [
        fakes.install(
            monkeypatch,
            name,
            **{
                **fakes.GOOD,
                "vmnet_ipam_deliver": implementation(
                    "vmnet_ipam_deliver", lambda name=name, **_: Delivery(name)
                ),
            },
        )
        for name in ("fake", "other")
    ]
    stages = fakes.choose(plugins, "fake")
    assert stages.deliver(IDENTITY, DNS_WIRING) == (Delivery("fake"),), "it forwards itself"
    other = with_ipam(stages, "other")
    assert other.deliver(IDENTITY, DNS_WIRING) == (Delivery("other"), Delivery("fake forwarder"))
    assert other.deliver(IDENTITY, WIRING) == (Delivery("other"),), "the wiring needs no forwarder"


def with_ipam(stages: Hooks, *names: str) -> Hooks:
    return evolve(
        stages, selection=Selection({**stages.selection.choices, "VMNET_IPAM": Choice(names, "")})
    )


def test_requirements_are_combined(monkeypatch: Patch) -> None:
    def needs(**fields: bool) -> Callable[..., Requirements]:
        return lambda settings, identity: Requirements(**fields)

    plugins = [
        fakes.install(
            monkeypatch, "a", **{**fakes.GOOD, "vmnet_ipam_requirements": needs(dns=True)}
        ),
        fakes.install(
            monkeypatch, "b", **{**fakes.GOOD, "vmnet_ipam_requirements": needs(contain=True)}
        ),
    ]
    stages = fakes.choose(plugins, "a")
    stages = with_ipam(stages, "a", "b")
    assert stages.requirements(IDENTITY) == Requirements(contain=True, dns=True)


def test_a_plugin_can_raise_its_own_vmnet_error(monkeypatch: Patch) -> None:
    error = VmnetError("own class of error")
    stages = fakes.stages(monkeypatch, vmnet_capture=failing("vmnet_capture", error))
    with pytest.raises(VmnetError) as caught:
        stages.capture()
    assert caught.value is error


def test_devices_of_the_ipam_strategies_come_before_those_of_other_plugins(
    monkeypatch: Patch,
) -> None:
    plugins = loading.load(
        [
            fakes.install(monkeypatch, "balloon", vmnet_devices=lambda: (Balloon(),)),
            fakes.install(monkeypatch, "none", vmnet_devices=lambda: None),
            fakes.install(monkeypatch, "seed", **fakes.GOOD, vmnet_devices=lambda: (SEED,)),
        ]
    )
    selecting = {**dict.fromkeys(plugins.strategies(), "seed"), "VMNET_DEVICES": "none,balloon"}
    settings = parse(selecting, plugins.settings())
    hooks = Hooks(plugins, select_from(plugins, settings), settings)
    assert hooks.devices(IDENTITY, WIRING) == (SEED, Balloon())


def test_a_plugin_with_a_main_hook_qualifies_for_the_stage(monkeypatch: Patch) -> None:
    def deliver(settings: object, identity: object, wiring: object) -> None: ...

    plugins = loading.load(
        [
            fakes.install(monkeypatch, "all", **fakes.GOOD),
            fakes.install(monkeypatch, "ipam", vmnet_ipam_deliver=deliver),
            fakes.install(monkeypatch, "rows", vmnet_settings=lambda: ()),
            fakes.install(monkeypatch, "tpm", vmnet_devices=lambda: ()),
            fakes.install(
                monkeypatch, "seed", vmnet_ipam_deliver=deliver, vmnet_devices=lambda: ()
            ),
        ]
    )
    assert plugins.strategies() == {
        "VMNET_CAPTURE": ("all",),
        "VMNET_IPAM": ("all", "ipam", "seed"),
        "VMNET_BRIDGE": ("all",),
        "VMNET_FORWARDER": ("all",),
        "VMNET_DEVICES": ("tpm",),
        "VMNET_LAUNCH": ("all",),
    }


@pytest.mark.parametrize("hook", specifications())
def test_a_specification_is_typed_and_states_when_it_is_called(hook: str) -> None:
    spec = specifications()[hook]
    assert set(spec.__annotations__) == {*parameters(hook), "return"}
    assert spec.__doc__
    assert "Called " in spec.__doc__


def test_hookimpl_is_the_marker_that_plugins_import() -> None:
    assert hookimpl is hookspecs.hookimpl
