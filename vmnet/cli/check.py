"""``vmnet check``: can this host and container run a VM, and if not, what is missing?

It goes through the same steps as a start, so what it finds is what a start would stumble over.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from vmnet import assembly, memory, pipeline
from vmnet.cli.findings import Finding, report
from vmnet.cli.output import Parser
from vmnet.errors import VmnetError
from vmnet.hooks import Hooks
from vmnet.lifecycle import files, folder, state
from vmnet.settings import ACCEL, MEMORY, RUN_DIR


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    parser = Parser("check", "Tell whether this host and container can run a VM.")
    options = parser.parse_args(arguments)
    # What it warns of at a start is a finding here.
    logging.getLogger(assembly.__name__).setLevel(logging.ERROR)
    return report(
        _examine(environ),
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
    yield Finding("settings", "ok", f"IPAM by {', '.join(chosen.ipam.names)}")
    yield _try("privileges", _privileges)
    yield _try("run folder", lambda: _run_dir(hooks.settings[RUN_DIR]))
    machine = (_accelerator(hooks), _memory(hooks.settings[MEMORY]))
    yield from machine
    yield _try("to boot", lambda: _boot(hooks))
    yield from _network(hooks, with_machine=all(one.result != "missing" for one in machine))


def _try(what: str, step: Callable[[], str]) -> Finding:
    try:
        return Finding(what, "ok", step())
    except VmnetError as error:
        return Finding(what, "missing", error.message, error.hint)


def _privileges() -> str:
    from vmnet.net import probe

    probe.wiring_allowed()
    return "taps and bridges can be made"


def _run_dir(run_dir: Path) -> str:
    folder.make(run_dir)
    trial = run_dir / "check"
    files.write(trial, b"")
    trial.unlink()
    return f"{run_dir} can be written, by root alone"


def _accelerator(hooks: Hooks) -> Finding:
    obstacle = assembly.kvm_obstacle()
    if not obstacle:
        return Finding("accelerator", "ok", "KVM")
    wish = hooks.settings[ACCEL]
    remedy = "on a host with virtualisation add `--device /dev/kvm`"
    result = "missing" if wish == "kvm" else "warning"
    return Finding("accelerator", result, f"no KVM ({obstacle}): guests run in emulation", remedy)


def _memory(wanted: int) -> Finding:
    try:
        memory.require(wanted)
    except VmnetError as error:
        return Finding("memory", "missing", error.message, error.hint)
    if shortage := memory.shortage(wanted):
        remedy = "raise the limit, `--memory`, or lower VMNET_MEMORY"
        return Finding("memory", "warning", shortage, remedy)
    return Finding("memory", "ok", f"{wanted >> 20} MiB for the guest")


def _boot(hooks: Hooks) -> str:
    boot = assembly.boot_devices(hooks.settings)
    found = [str(device.path) for device in boot.devices]
    return ", ".join(found + ([str(boot.kernel.path)] if boot.kernel else []))


def _network(hooks: Hooks, *, with_machine: bool) -> Iterator[Finding]:
    """The planning stages, as far as they get: each needs the one before.

    :param with_machine: on to the machine on that network
    """
    try:
        running = state.load(hooks.settings[RUN_DIR])
        if running is not None:
            yield Finding("network", "ok", "a VM has this network namespace already")
            return
        identity = hooks.capture()
        names = ", ".join(one.name for one in identity.interfaces)
        yield Finding("identity", "ok", f"{identity.hostname}: {names}")
        for name in hooks.allocators:
            yield Finding("IPAM", "ok", f"{name} allocates at a start; it was not asked now")
        if pipeline.depends_on_allocation(hooks, identity):
            unseen = "not looked at: the container has no address before one is allocated"
            yield Finding("network", "warning", unseen)
            return
        wiring = hooks.plan_bridge(identity, hooks.requirements(identity))
        bridges = ", ".join(f"{one.bridge} {one.bridge_address}" for one in wiring.ports)
        yield Finding("bridge", "ok", bridges)
        deliveries = hooks.deliver(identity, wiring)
        yield Finding("IPAM", "ok", ", ".join(one.strategy for one in deliveries))
        for delivery in deliveries:
            for line in delivery.not_carried:
                yield Finding("not carried", "warning", f"{delivery.strategy}: {line}")
        if not with_machine:
            return
        boot = assembly.Boot()
        machine = assembly.assemble(hooks.settings, identity, wiring, boot, ())
        command = hooks.launch_command(machine, ())
        yield Finding("hypervisor", "ok", command.argv[0])
    except VmnetError as error:
        yield Finding("network", "missing", error.message, error.hint)
