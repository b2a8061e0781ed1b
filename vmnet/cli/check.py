"""``vmnet check``: report whether this host and container can run a VM, and what is missing.

The command plans a start and makes the checks of :mod:`vmnet.planning.preflight`, as a start does.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path

from vmnet import engine, pipeline
from vmnet.cli import port_words
from vmnet.errors import DeliveryError, LaunchError, MachineError, SettingsError, VmnetError
from vmnet.hooks.facade import Hooks
from vmnet.hooks.stages import IPAM
from vmnet.lifecycle import files, run_directory, vm_record
from vmnet.lifecycle import state as saved_state
from vmnet.model.identity import Identity
from vmnet.model.wiring import Redirect, Wiring
from vmnet.planning import network_boot, preflight, takeover
from vmnet.planning.booting.boot import Boot, boot_devices, disk_variables
from vmnet.planning.hardware import accelerator, architecture, huge_pages, memory, sizing
from vmnet.planning.machine import assemble
from vmnet.planning.storage import state_folder
from vmnet.planning.storage.disk_settings import NotDownloadedError
from vmnet.settings.core import ACCEL, HUGEPAGES, METRICS, RUN_DIR
from vmnet.settings.table import Settings
from vmnet.supervision import exporter_plan
from vmnet.terminal.findings import Finding, report
from vmnet.terminal.logged import logged
from vmnet.terminal.options import Parser

_ROOM = 32 << 10  # a start writes about ten small files to the run directory, each a page
_USED = (
    "the network itself is not checked: a VM has used this network namespace, and a start restores "
    "its network first"
)
# What an error of the planning is about, unless it is about the network.
_STEPS: Mapping[type[VmnetError], str] = {
    DeliveryError: "IPAM",
    LaunchError: "hypervisor",
    MachineError: "machine",
    SettingsError: "settings",
}
# The logged events that are among the findings anyway.
_COVERED = frozenset(
    {
        "identity.not_carried",
        "localhost.guest",
        "machine.emulated",
        "machine.memory_short",
        "port.kept",
    }
)


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    parser = Parser("check", "Check whether this host and container can run a VM.")
    options = parser.parse_args(arguments)
    with logged() as log:
        return report(
            log.among(_examine(environ), _COVERED),
            as_json=options.json,
            good="ready to run",
            bad="a start would fail",
        )


def _examine(environ: Mapping[str, str]) -> Iterator[Finding]:
    try:
        hooks = pipeline.select(environ)
    except VmnetError as error:
        yield Finding("settings", "missing", error.message, error.hint)
        return
    chosen = hooks.selection
    yield Finding("settings", "ok", f"IPAM by {', '.join(chosen[IPAM].names)}")
    for line in hooks.unused_settings():
        yield Finding("settings", "warning", line)
    cpus = sizing.cpu_count(hooks.settings)
    conditions = [_try(*check) for check in preflight.before_planning(cpus)]
    yield from conditions
    yield _try("run dir", lambda: _run_dir(hooks.settings[RUN_DIR]))
    machine = (_accelerator(hooks), _memory(hooks.settings))
    yield from machine
    try:
        boot = boot_devices(hooks.settings)
        yield Finding("to boot", "ok", _described(boot))
    except VmnetError as error:
        boot = None
        result = "warning" if isinstance(error, NotDownloadedError) else "missing"
        yield Finding("to boot", result, error.message, error.hint)
    is_complete = boot and all(finding.result != "missing" for finding in machine)
    # With too low a limit of open files, for example, a tap fails with another error.
    may_try = all(finding.result == "ok" for finding in conditions)
    yield from _network(hooks, boot if is_complete else None, may_try=may_try)


def _try(what: str, step: Callable[[], str]) -> Finding:
    try:
        return Finding(what, "ok", step())
    except VmnetError as error:
        return Finding(what, "missing", error.message, error.hint)


def _privileges() -> str:
    from vmnet.net import permissions

    permissions.require_bridge_and_tap()
    return "can create taps and bridges"


def filters(wiring: Wiring) -> Finding:
    """Check the filters that a start attaches. It redirects no frames without them."""
    from vmnet.net import permissions
    from vmnet.net.filters import redirection

    redirected = [port.uplink for port in wiring.ports if isinstance(port.path, Redirect)]
    try:
        module = permissions.lacking_module(redirects=bool(redirected))
        if module and redirected:
            raise redirection.lacking(redirected[0], module)
    except VmnetError as error:
        return Finding("filters", "missing", error.message, error.hint)
    if module:
        lack = f"the kernel lacks {module}: a start would filter no packets"
        return Finding("filters", "warning", lack, f"`modprobe {module}` on the host")
    return Finding("filters", "ok", f"can filter {'and redirect ' if redirected else ''}packets")


def _run_dir(run_dir: Path) -> str:
    run_directory.make(run_dir)
    probe = run_dir / ".check"
    files.write(probe, bytes(_ROOM))
    probe.unlink()
    return f"only root can write to {run_dir}"


def _accelerator(hooks: Hooks) -> Finding:
    if hooks.settings[ACCEL] == "tcg":
        return Finding("accelerator", "ok", "emulation (TCG), because VMNET_ACCEL=tcg")
    try:
        guests = architecture.choose(hooks.settings)
        if hooks.settings[ACCEL] == "kvm":
            accelerator.choose("kvm", guests)
    except VmnetError as error:
        return Finding("accelerator", "missing", error.message, error.hint)
    obstacle = accelerator.obstacle(guests)
    if not obstacle:
        return Finding("accelerator", "ok", "KVM")
    remedy = f"on a host with virtualisation {engine.device(Path('/dev/kvm'))}"
    if architecture.is_foreign(guests):
        remedy = f"run the VM on a host with a processor for {guests.alias}"
    return Finding("accelerator", "warning", f"no KVM ({obstacle}): QEMU emulates the CPU", remedy)


def _memory(settings: Settings) -> Finding:
    wanted = sizing.memory_size(settings)
    try:
        if settings[HUGEPAGES]:
            wanted, page = huge_pages.require(wanted)
            return Finding("memory", "ok", f"{wanted // page} huge pages of {page >> 20} MiB")
        memory.require(wanted)
    except VmnetError as error:
        return Finding("memory", "missing", error.message, error.hint)
    if shortage := memory.shortage(wanted, sizing.qemu_memory(settings)):
        remedy = f"raise the limit ({engine.memory_limit()}) or lower VMNET_MEMORY"
        return Finding("memory", "warning", shortage, remedy)
    return Finding("memory", "ok", f"{wanted >> 20} MiB for the guest")


def _described(boot: Boot) -> str:
    found = [str(device.path) for device in boot.devices]
    return ", ".join(found + ([str(boot.kernel.path)] if boot.kernel else []))


def _network(hooks: Hooks, boot: Boot | None, *, may_try: bool) -> Iterator[Finding]:
    """Run the planning stages, each of which needs the previous stage, until one fails.

    :param boot: None to leave out the machine, which lacks something
    :param may_try: try to create a tap and a bridge
    """
    run_dir = hooks.settings[RUN_DIR]
    try:
        saved = saved_state.load(run_dir, hooks.restorers)
        if saved is None:
            planned = yield from _planned(hooks)
        elif vm_record.load(run_dir) is not None:
            yield Finding("network", "ok", "a running VM uses this network namespace")
            return
        else:
            yield Finding("network", "warning", _USED)
            planned = saved.identity, saved.wiring
        if planned is not None:
            if may_try and any(port.tap for port in planned[1].ports):
                privileges = _try("privileges", _privileges)
                yield privileges
                if privileges.result == "ok":
                    yield filters(planned[1])
            yield from _machine(hooks, *planned, boot)
    except VmnetError as error:
        yield Finding(_STEPS.get(type(error), "network"), "missing", error.message, error.hint)


def _planned(hooks: Hooks) -> Generator[Finding, None, tuple[Identity, Wiring] | None]:
    """Plan the network, and return None if the plan needs an allocation."""
    identity = hooks.capture()
    names = ", ".join(interface.name for interface in identity.interfaces)
    yield Finding("identity", "ok", f"{identity.hostname}: {names}")
    for name in hooks.allocators:
        yield Finding(
            "IPAM", "ok", f"{name} allocates addresses at a start, and was not called now"
        )
    if pipeline.depends_on_allocation(hooks, identity):
        unchecked = "not checked: the container has no address before a start allocates it"
        yield Finding("network", "warning", unchecked)
        return None
    requirements = hooks.requirements(identity)
    wiring = hooks.plan_bridge(identity, requirements)
    further = (line for port in wiring.ports for line in port_words.further(port))
    yield Finding("bridge", "ok", ", ".join((*map(port_words.own_end, wiring.ports), *further)))
    identity = takeover.examine(hooks.settings, identity, wiring)
    network_boot.require(hooks.settings, identity, wiring, outside=requirements.any_address)
    for line in identity.not_carried:
        yield Finding("not carried", "warning", line)
    return identity, wiring


def _machine(
    hooks: Hooks, identity: Identity, wiring: Wiring, boot: Boot | None
) -> Iterator[Finding]:
    for line in hooks.unused_with(wiring):
        yield Finding("settings", "warning", line)
    deliveries = hooks.deliver(identity, wiring)
    exporter_plan.require(hooks.settings, identity)
    if exporter_plan.plan(hooks.settings, identity, wiring) is not None:
        yield Finding("metrics", "ok", f"TCP port {hooks.settings.given[METRICS.name]}")
    yield Finding("IPAM", "ok", ", ".join(delivery.strategy for delivery in deliveries))
    for delivery in deliveries:
        for line in delivery.not_carried:
            yield Finding("not carried", "warning", f"{delivery.strategy}: {line}")
    devices = hooks.devices(identity, wiring)
    own, firmware = disk_variables(hooks.settings), None
    machine = None
    try:
        if boot is not None:
            own_firmware = hooks.own_firmware(())
            machine = assemble(hooks.settings, identity, wiring, boot, devices, own_firmware)
            devices, firmware = machine.devices, machine.firmware
    except VmnetError as error:
        yield Finding("machine", "missing", error.message, error.hint)
    state = state_folder.of(hooks.settings, devices, firmware)
    for what, check in preflight.after_planning(deliveries, devices, own, state):
        yield _try(what, check)
    if machine is None:
        return
    yield Finding("firmware", "ok", machine.firmware.described)
    command = hooks.launch_command(machine, ())
    yield Finding("hypervisor", "ok", command.argv[0])
