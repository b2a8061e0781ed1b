"""``vmnet check``: report whether this host and container can run a VM, and what is missing.

The command goes through the same steps as a start.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from vmnet import pipeline, planning
from vmnet.errors import VmnetError
from vmnet.hooks.facade import Hooks
from vmnet.hooks.stages import IPAM
from vmnet.lifecycle import files, run_directory, state
from vmnet.planning import accelerator, host, memory
from vmnet.planning.boot import Boot, boot_devices
from vmnet.planning.machine import assemble
from vmnet.settings.core import ACCEL, CPUS, MEMORY, RUN_DIR
from vmnet.terminal.findings import Finding, report
from vmnet.terminal.options import Parser


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    parser = Parser("check", "Check whether this host and container can run a VM.")
    options = parser.parse_args(arguments)
    with _without_warnings():
        return report(
            _examine(environ),
            as_json=options.json,
            good="ready to run",
            bad="a start would fail",
        )


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Keep the warnings of a start out of the log, because they are findings here."""
    logger = logging.getLogger(planning.__name__)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _examine(environ: Mapping[str, str]) -> Iterator[Finding]:
    try:
        hooks = pipeline.select(environ)
    except VmnetError as error:
        yield Finding("settings", "missing", error.message, error.hint)
        return
    chosen = hooks.selection
    yield Finding("settings", "ok", f"IPAM by {', '.join(chosen[IPAM].names)}")
    yield _try("host", lambda: _host(hooks.settings[CPUS]))
    yield _try("privileges", _privileges)
    yield _try("run dir", lambda: _run_dir(hooks.settings[RUN_DIR]))
    machine = (_accelerator(hooks), _memory(hooks.settings[MEMORY]))
    yield from machine
    yield _try("to boot", lambda: _boot(hooks))
    yield from _network(hooks, with_machine=all(finding.result != "missing" for finding in machine))


def _try(what: str, step: Callable[[], str]) -> Finding:
    try:
        return Finding(what, "ok", step())
    except VmnetError as error:
        return Finding(what, "missing", error.message, error.hint)


def _host(cpus: int) -> str:
    host.require(cpus)
    return f"Linux {os.uname().release}; enough open files, processes and threads"


def _privileges() -> str:
    from vmnet.net import permissions

    permissions.require_bridge_and_tap()
    return "can create taps and bridges"


def _run_dir(run_dir: Path) -> str:
    run_directory.make(run_dir)
    probe = run_dir / "check"
    files.write(probe, b"")
    probe.unlink()
    return f"only root can write to {run_dir}"


def _accelerator(hooks: Hooks) -> Finding:
    obstacle = accelerator.obstacle()
    if not obstacle:
        return Finding("accelerator", "ok", "KVM")
    remedy = "on a host with virtualisation add `--device /dev/kvm`"
    result = "missing" if hooks.settings[ACCEL] == "kvm" else "warning"
    return Finding("accelerator", result, f"no KVM ({obstacle}): QEMU emulates the CPU", remedy)


def _memory(wanted: int) -> Finding:
    try:
        memory.require(wanted)
    except VmnetError as error:
        return Finding("memory", "missing", error.message, error.hint)
    if shortage := memory.shortage(wanted):
        remedy = "raise the limit (`--memory`) or lower VMNET_MEMORY"
        return Finding("memory", "warning", shortage, remedy)
    return Finding("memory", "ok", f"{wanted >> 20} MiB for the guest")


def _boot(hooks: Hooks) -> str:
    boot = boot_devices(hooks.settings)
    found = [str(device.path) for device in boot.devices]
    return ", ".join(found + ([str(boot.kernel.path)] if boot.kernel else []))


def _network(hooks: Hooks, *, with_machine: bool) -> Iterator[Finding]:
    """Run the planning stages, each of which needs the previous stage, until one fails.

    :param with_machine: whether to plan the machine, too
    """
    try:
        running = state.load(hooks.settings[RUN_DIR])
        if running is not None:
            yield Finding("network", "ok", "a running VM uses this network namespace")
            return
        identity = hooks.capture()
        names = ", ".join(interface.name for interface in identity.interfaces)
        yield Finding("identity", "ok", f"{identity.hostname}: {names}")
        for line in identity.not_carried:
            yield Finding("not carried", "warning", line)
        for name in hooks.allocators:
            yield Finding(
                "IPAM", "ok", f"{name} allocates addresses at a start, and was not called now"
            )
        if pipeline.depends_on_allocation(hooks, identity):
            unchecked = "not checked: the container has no address before a start allocates it"
            yield Finding("network", "warning", unchecked)
            return
        wiring = hooks.plan_bridge(identity, hooks.requirements(identity))
        bridges = ", ".join(f"{port.bridge} {port.bridge_address}" for port in wiring.ports)
        yield Finding("bridge", "ok", bridges)
        deliveries = hooks.deliver(identity, wiring)
        yield Finding("IPAM", "ok", ", ".join(delivery.strategy for delivery in deliveries))
        for delivery in deliveries:
            for line in delivery.not_carried:
                yield Finding("not carried", "warning", f"{delivery.strategy}: {line}")
        if not with_machine:
            return
        machine = assemble(hooks.settings, identity, wiring, Boot(), ())
        command = hooks.launch_command(machine, ())
        yield Finding("hypervisor", "ok", command.argv[0])
    except VmnetError as error:
        yield Finding("network", "missing", error.message, error.hint)
