"""Call ADD, CHECK and DEL, and record each allocation so that it can always be released."""

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
from vmnet_ipam_cni.record import Attachment, ContainerRecord
from vmnet_ipam_cni.result import Result

_log = logging.getLogger(__name__)


def prepare(settings: Settings, identity: Identity) -> tuple[Network, Plugin, tuple[str, ...]]:
    """Return the network, its plugin, and the interfaces to allocate for, without running anything.

    :raises SettingsError: the network configuration is malformed, or an interface does not exist
    :raises AllocationError: the plugin does not exist
    """
    capabilities = settings[CAPABILITIES]
    configured = network.load(settings[CONFIG], {} if capabilities is None else capabilities)
    existing = tuple(interface.name for interface in identity.interfaces)
    names = settings[INTERFACES] or existing
    for name in names:
        if name not in existing:
            raise SettingsError(
                f"{INTERFACES.name}={','.join(names)}: there is no {name} to hand over",
                f"vmnet hands over {', '.join(existing)}",
            )
    return configured, plugin.find(configured.plugin, settings[PATH], settings[TIMEOUT]), names


def allocate(settings: Settings, identity: Identity) -> Identity:
    """Return the identity with the plugin's allocations.

    Each interface is recorded before ADD is called for it. The release needs only the record.

    :raises AllocationError: the allocation fails; it stays on record
    """
    configured, program, interfaces = prepare(settings, identity)
    program.require_version(configured.version)
    if configured.plugin == "dhcp":
        _warn_about_renewal()
    path = _path(settings)
    current = record.renewed(record.load(path), identity.hostname)
    results: dict[str, Result] = {}
    for name in interfaces:
        attachment = Attachment(configured, _parameters(settings, current, name))
        current = evolve(current, attachments=(*current.attachments, attachment))
        record.save(path, current)
        attachment = _added(program, attachment, _netns(settings))
        current = evolve(current, attachments=(*current.attachments[:-1], attachment))
        record.save(path, current)
        try:
            results[name] = result.read(attachment.result, configured.version, name)
        except ValueError as error:
            raise _unusable(program, error) from None
    _check(program, current, _netns(settings))
    try:
        return merge.merge(identity, results)
    except ValueError as error:
        raise _unusable(program, error) from None


def release(settings: Settings) -> None:
    """Call DEL for everything on record, in reverse order.

    :raises AllocationError: an allocation may still exist; it stays on record
    """
    path = _path(settings)
    current = record.load(path)
    if current is None:
        return
    failed: list[Attachment] = []
    for attachment in reversed(current.attachments):
        try:
            _delete(settings, attachment)
        except AllocationError as error:
            _log.error("%s", error.message, extra={"hint": error.hint})
            failed.insert(0, attachment)
    if current.attachments:
        record.save(path, evolve(current, attachments=tuple(failed)))
    if failed:
        interfaces = ", ".join(attachment.interface for attachment in failed)
        raise AllocationError(
            f"not released by CNI: {interfaces} of {current.container}",
            f"correct the errors above; the record of the allocations is {path}",
        )


def _added(program: Plugin, attachment: Attachment, netns: Mapping[str, str]) -> Attachment:
    answer = program.add(attachment.network, {**attachment.parameters, **netns})
    return evolve(attachment, result=answer)


def _check(program: Plugin, current: ContainerRecord, netns: Mapping[str, str]) -> None:
    """Let the plugin confirm all allocations when they are complete."""
    for attachment in current.attachments:
        if attachment.network.checks:
            program.check(attachment.network, {**attachment.parameters, **netns}, attachment.result)


def _delete(settings: Settings, attachment: Attachment) -> None:
    program = plugin.find(attachment.network.plugin, settings[PATH], settings[TIMEOUT])
    parameters = {**attachment.parameters, **_netns(settings)}
    program.delete(attachment.network, parameters, attachment.result)


def _parameters(settings: Settings, current: ContainerRecord, interface: str) -> dict[str, str]:
    parameters = {"CNI_CONTAINERID": current.container, "CNI_IFNAME": interface}
    arguments = settings[ARGS]
    return {**parameters, "CNI_ARGS": arguments} if arguments else parameters


def _netns(settings: Settings) -> dict[str, str]:
    """Use the PID of this process, which becomes the hypervisor, so the path stays valid."""
    return {"CNI_NETNS": str(settings[NETNS] or f"/proc/{os.getpid()}/ns/net")}


def _path(settings: Settings) -> Path:
    return settings[RUN_DIR] / "cni.json"


def _warn_about_renewal() -> None:
    _log.warning(
        "the dhcp plugin's daemon can't renew the lease while the VM has the NIC, and takes the "
        "NIC down when the lease expires",
        extra={
            "hint": "configure unlimited leases, or let the guest use the DHCP server: NO_DHCP=true"
        },
    )


def _unusable(program: Plugin, error: ValueError) -> AllocationError:
    return AllocationError(
        f"{program.name} made an unusable allocation: {error}",
        f"vmnet releases it; check the network configuration ({CONFIG.name})",
    )
