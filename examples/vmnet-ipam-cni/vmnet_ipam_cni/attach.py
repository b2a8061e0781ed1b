"""ADD, CHECK and DEL, in the order in which nothing gets lost."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

from attrs import evolve

from vmnet.api import RUN_DIR, AllocationError, Identity, Settings, SettingsError
from vmnet_ipam_cni import (
    ARGS,
    CAPABILITIES,
    CONFIG,
    INTERFACES,
    NETNS,
    PATH,
    TIMEOUT,
    merge,
    network,
    plugin,
    record,
    result,
)
from vmnet_ipam_cni.network import Network
from vmnet_ipam_cni.plugin import Plugin
from vmnet_ipam_cni.record import Attachment, Record
from vmnet_ipam_cni.result import Result

_log = logging.getLogger(__name__)


def prepare(settings: Settings, identity: Identity) -> tuple[Network, Plugin, tuple[str, ...]]:
    """What will be run, and the interfaces to run it for. Nothing is run yet.

    :raises SettingsError: the network configuration is malformed, an interface is not there
    :raises AllocationError: the plugin is not there
    """
    capabilities = settings[CAPABILITIES]
    found = network.load(settings[CONFIG], {} if capabilities is None else capabilities)
    there = tuple(one.name for one in identity.interfaces)
    wanted = settings[INTERFACES] or there
    for name in wanted:
        if name not in there:
            raise SettingsError(
                f"{INTERFACES.name}={','.join(wanted)}: there is no {name} to hand over",
                f"handed over are {', '.join(there)}",
            )
    return found, plugin.find(found.plugin, settings[PATH], settings[TIMEOUT]), wanted


def allocate(settings: Settings, identity: Identity) -> Identity:
    """Each interface is on record before it is added; the release needs no more than the record.

    :raises AllocationError: there is nothing to be had; what was made is on record
    """
    found, program, interfaces = prepare(settings, identity)
    program.require_version(found.version)
    if found.plugin == "dhcp":
        _warn_of_renewal()
    path = _path(settings)
    kept = record.renewed(record.load(path), identity.hostname)
    results: dict[str, Result] = {}
    for name in interfaces:
        attachment = Attachment(found, _parameters(settings, kept, name))
        kept = evolve(kept, attachments=(*kept.attachments, attachment))
        record.save(path, kept)
        attachment = _added(program, attachment, _netns(settings))
        kept = evolve(kept, attachments=(*kept.attachments[:-1], attachment))
        record.save(path, kept)
        try:
            results[name] = result.read(attachment.result, found.version, name)
        except ValueError as error:
            raise _unfit(program, error) from None
    _check(program, kept, _netns(settings))
    try:
        return merge.merge(identity, results)
    except ValueError as error:
        raise _unfit(program, error) from None


def release(settings: Settings) -> None:
    """DEL for all that is on record, the last added first.

    :raises AllocationError: something may still be allocated; it stays on record
    """
    path = _path(settings)
    kept = record.load(path)
    if kept is None:
        return
    failed: list[Attachment] = []
    for attachment in reversed(kept.attachments):
        try:
            _delete(settings, attachment)
        except AllocationError as error:
            _log.error("%s", error.message, extra={"hint": error.hint})
            failed.insert(0, attachment)
    if kept.attachments:
        record.save(path, evolve(kept, attachments=tuple(failed)))
    if failed:
        raise AllocationError(
            f"not released by CNI: {', '.join(one.interface for one in failed)} of "
            f"{kept.container}",
            f"mend what is reported above; what was asked for is in {path}",
        )


def _added(program: Plugin, attachment: Attachment, netns: Mapping[str, str]) -> Attachment:
    answer = program.add(attachment.network, {**attachment.parameters, **netns})
    return evolve(attachment, result=answer)


def _check(program: Plugin, kept: Record, netns: Mapping[str, str]) -> None:
    """Does the plugin agree, with all of it in place, that this is allocated?"""
    for one in kept.attachments:
        if one.network.checks:
            program.check(one.network, {**one.parameters, **netns}, one.result)


def _delete(settings: Settings, one: Attachment) -> None:
    program = plugin.find(one.network.plugin, settings[PATH], settings[TIMEOUT])
    program.delete(one.network, {**one.parameters, **_netns(settings)}, one.result)


def _parameters(settings: Settings, kept: Record, interface: str) -> dict[str, str]:
    found = {"CNI_CONTAINERID": kept.container, "CNI_IFNAME": interface}
    arguments = settings[ARGS]
    return {**found, "CNI_ARGS": arguments} if arguments else found


def _netns(settings: Settings) -> dict[str, str]:
    """By the number of this process, which becomes the machine: the path leads there as long."""
    return {"CNI_NETNS": str(settings[NETNS] or f"/proc/{os.getpid()}/ns/net")}


def _path(settings: Settings) -> Path:
    return settings[RUN_DIR] / "cni.json"


def _warn_of_renewal() -> None:
    _log.warning(
        "the dhcp plugin's daemon can't renew its lease while the VM has the NIC; it takes it down "
        "when the lease expires",
        extra={
            "hint": "have the DHCP server lease for ever, or let the guest ask it: NO_DHCP=true"
        },
    )


def _unfit(program: Plugin, error: ValueError) -> AllocationError:
    return AllocationError(
        f"{program.name} allocated what can't be used: {error}",
        f"it was given back; does the network configuration ({CONFIG.name}) say what it should?",
    )
