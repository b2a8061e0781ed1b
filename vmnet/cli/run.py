"""``vmnet run``: the container's entry point."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import NoReturn

from vmnet import log, pipeline
from vmnet.errors import VmnetError
from vmnet.hooks.facade import Hooks
from vmnet.lifecycle import recovery, shared_network, start, stop_signals
from vmnet.pipeline import Plan
from vmnet.planning import preflight, stop_time
from vmnet.planning.booting import boot
from vmnet.planning.hardware import sizing
from vmnet.planning.storage import disk_settings, state_folder
from vmnet.settings.core import GUARD, STOP_TIMEOUT
from vmnet.settings.table import Settings

_log = logging.getLogger(__name__)
_HELP = """\
usage: vmnet run [QEMU ARGUMENT …]

Hands the container's network identity to a virtual machine and becomes QEMU. Arguments go to QEMU,
after vmnet's own. Environment variables set the rest (`vmnet config`).
"""


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    if list(arguments) in (["--help"], ["-h"]):
        print(_HELP, end="")
        return 0
    return become_machine(arguments, environ)


def become_machine(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Plan, log what the guest receives, and start.

    Return only if a strategy allocates addresses, or if other containers use the network: vmnet
    then waits for the machine to end.

    :return: the exit status of the machine

    :raises vmnet.errors.VmnetError: the start failed; the network is as it was
    """
    stop_signals.interruptible()
    hooks = pipeline.select(environ)
    preflight.require(preflight.before_planning(sizing.cpu_count(hooks.settings)))
    recovery.recover(hooks)
    _download(hooks.settings)
    devices = start.device_indexes()
    reason = shared_network.reason_to_restore(hooks.settings)
    if not hooks.allocators and not reason:
        _become(hooks, pipeline.plan(hooks, arguments), devices)
    from vmnet.lifecycle import supervisor

    status = supervisor.fork()
    if status is None:
        plan = _plan(hooks, arguments)
        if reason and plan.wiring.takes_uplinks:
            _log.info(
                "%s: the network is put back when the VM ends",
                reason,
                extra={"event": "network.restore_planned"},
            )
        _become(hooks, plan, devices)
    try:
        recovery.recover(hooks)
    except VmnetError as error:
        log.report(error, "network.restore_failed")  # the exit status remains that of the machine
    return status


def _download(settings: Settings) -> None:
    disks = disk_settings.disks(settings)
    if any(disk.url for disk in disks.values()):
        from vmnet.lifecycle import download

        download.fetch(disks)


def _plan(hooks: Hooks, arguments: Sequence[str]) -> Plan:
    if not hooks.allocators:
        return pipeline.plan(hooks, arguments)
    from vmnet.lifecycle import allocation

    return pipeline.plan(hooks, arguments, allocate=partial(allocation.allocate, hooks))


def _become(hooks: Hooks, plan: Plan, devices: frozenset[int]) -> NoReturn:
    machine, own = plan.machine, boot.disk_variables(hooks.settings)
    state = state_folder.of(hooks.settings, machine.devices, machine.firmware)
    preflight.require(preflight.after_planning(plan.deliveries, machine.devices, own, state))
    for interface in plan.identity.interfaces:
        name, mac = interface.name, interface.mac
        if plan.outside:
            _log.info(
                "%s: the guest gets MAC %s; another system gives it an address",
                name,
                mac,
                extra={"event": "guest.identity"},
            )
        else:
            addresses = " ".join(map(str, interface.addresses)) or "no address"
            _log.info(
                "%s: the guest gets MAC %s and %s",
                name,
                mac,
                addresses,
                extra={"event": "guest.identity"},
            )
    for line in plan.unused_settings:
        _log.warning("%s", line, extra={"event": "setting.unused"})
    for line in plan.not_carried:
        _log.warning("not carried by %s", line, extra={"event": "identity.not_carried"})
    settings = hooks.settings
    accelerator = plan.machine.accelerator
    shortage = stop_time.shortage(settings[STOP_TIMEOUT], accelerator)
    if shortage and settings[GUARD]:
        seconds = stop_time.choose(None, accelerator)
        _log.warning(
            "%s", shortage, extra={"event": "stop.time_short", "hint": stop_time.remedy(seconds)}
        )
    start.start(hooks, plan, devices)
