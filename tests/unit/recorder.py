"""A plugin that implements every hook and records each call with its arguments."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any

from attrs import evolve

from vmnet import pipeline, testing
from vmnet.errors import LaunchError
from vmnet.hooks.facade import Hooks
from vmnet.hookspecs import hookimpl
from vmnet.model.delivery import Delivery, File
from vmnet.model.devices import Cdrom
from vmnet.model.identity import Identity
from vmnet.model.machine import Command, Machine, NicChange
from vmnet.model.wiring import Requirements, Wiring
from vmnet.settings import values
from vmnet.settings.core import RUN_DIR
from vmnet.settings.table import Setting, Settings, optional

LABEL = optional("VMNET_RECORDER_LABEL", values.text, "a label that tests the rows of plugins")
IDENTITY = testing.identity()
ALLOCATED = evolve(
    IDENTITY,
    interfaces=(evolve(IDENTITY.interfaces[0], addresses=(IPv4Interface("172.17.9.7/16"),)),),
)
WIRING = evolve(testing.wiring(IDENTITY, nameserver="172.17.255.254/16"), strategy="recorder")
SEED = Cdrom(Path("/run/vmnet/recorder.iso"))

CALLS: list[tuple[str, dict[str, Any]]] = []
FAIL_AT: set[str] = set()


def select(tmp_path: Path, **changed: str) -> Hooks:
    """Select this plugin for every stage, and the second plugin for IPAM as well."""
    kernel = tmp_path / "vmlinuz"
    kernel.touch()
    return pipeline.select(
        {
            "VMNET_CAPTURE": "recorder",
            "VMNET_IPAM": "recorder,second",
            "VMNET_BRIDGE": "recorder",
            "VMNET_FORWARDER": "recorder",
            "VMNET_LAUNCH": "recorder",
            "VMNET_KERNEL": str(kernel),
            "VMNET_ACCEL": "tcg",
            "VMNET_RUN_DIR": str(tmp_path / "run"),
            "VMNET_DISK_STATE": str(tmp_path / "state"),
            **changed,
        }
    )


def calls() -> list[str]:
    """Return the hooks called so far."""
    return [hook for hook, _ in CALLS]


def record(hook: str, **given: Any) -> None:
    CALLS.append((hook, given))
    if hook in FAIL_AT:
        raise LaunchError(f"{hook} is set to fail")


@hookimpl
def vmnet_settings() -> Sequence[Setting[Any]]:
    record("vmnet_settings")
    return (LABEL,)


@hookimpl
def vmnet_capture(settings: Settings) -> Identity:
    record("vmnet_capture", settings=settings)
    return IDENTITY


@hookimpl
def vmnet_ipam_allocate(settings: Settings, identity: Identity) -> Identity:
    record("vmnet_ipam_allocate", settings=settings, identity=identity)
    return ALLOCATED


@hookimpl
def vmnet_ipam_release(settings: Settings, identity: Identity) -> None:
    record("vmnet_ipam_release", settings=settings, identity=identity)


@hookimpl
def vmnet_ipam_requirements(settings: Settings, identity: Identity) -> Requirements:
    record("vmnet_ipam_requirements", settings=settings, identity=identity)
    return Requirements(contain=True)


@hookimpl
def vmnet_bridge_plan(settings: Settings, identity: Identity, requirements: Requirements) -> Wiring:
    record("vmnet_bridge_plan", settings=settings, identity=identity, requirements=requirements)
    return WIRING


@hookimpl
def vmnet_bridge_deliver(settings: Settings, identity: Identity, wiring: Wiring) -> Delivery:
    record("vmnet_bridge_deliver", settings=settings, identity=identity, wiring=wiring)
    return Delivery("recorder's bridge")


@hookimpl
def vmnet_ipam_deliver(settings: Settings, identity: Identity, wiring: Wiring) -> Delivery:
    record("vmnet_ipam_deliver", settings=settings, identity=identity, wiring=wiring)
    file = File(settings[RUN_DIR] / "recorder.txt", b"delivered")
    return Delivery("recorder", files=(file,), not_carried=("the weather",))


@hookimpl
def vmnet_forwarder(settings: Settings, identity: Identity, wiring: Wiring) -> Delivery:
    record("vmnet_forwarder", settings=settings, identity=identity, wiring=wiring)
    return Delivery("recorder's forwarder")


@hookimpl
def vmnet_devices(settings: Settings, identity: Identity, wiring: Wiring) -> tuple[Cdrom, ...]:
    record("vmnet_devices", settings=settings, identity=identity, wiring=wiring)
    return (SEED,)


@hookimpl
def vmnet_launch_firmware(settings: Settings, arguments: Sequence[str]) -> str:
    record("vmnet_launch_firmware", settings=settings, arguments=arguments)
    return "-bios" if "-bios" in arguments else ""


@hookimpl
def vmnet_launch_command(settings: Settings, machine: Machine, arguments: Sequence[str]) -> Command:
    record("vmnet_launch_command", settings=settings, machine=machine, arguments=arguments)
    return Command(("/bin/true", *arguments))


@hookimpl
def vmnet_bridge_extend(
    settings: Settings, identity: Identity, requirements: Requirements, wiring: Wiring
) -> Wiring:
    given = {"identity": identity, "requirements": requirements, "wiring": wiring}
    record("vmnet_bridge_extend", settings=settings, **given)
    return testing.wiring(identity)


@hookimpl
def vmnet_bridge_change(
    settings: Settings, identity: Identity, requirements: Requirements, wiring: Wiring
) -> Wiring:
    given = {"identity": identity, "requirements": requirements, "wiring": wiring}
    record("vmnet_bridge_change", settings=settings, **given)
    return testing.wiring(identity)


@hookimpl
def vmnet_bridge_rejoin(settings: Settings, wiring: Wiring) -> bool:
    record("vmnet_bridge_rejoin", settings=settings, wiring=wiring)
    return True


@hookimpl
def vmnet_bridge_build(settings: Settings, wiring: Wiring) -> bool:
    record("vmnet_bridge_build", settings=settings, wiring=wiring)
    return True


@hookimpl
def vmnet_bridge_restore(settings: Settings, wiring: Wiring) -> bool:
    record("vmnet_bridge_restore", settings=settings, wiring=wiring)
    return True


@hookimpl
def vmnet_launch(settings: Settings, command: Command) -> None:
    record("vmnet_launch", settings=settings, command=command)


@hookimpl
def vmnet_launch_change(settings: Settings, command: Command, change: NicChange) -> bool:
    record("vmnet_launch_change", settings=settings, command=command, change=change)
    return True
