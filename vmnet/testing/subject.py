"""The plugin under test, loaded and called like in a start."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Interface
from typing import Any

from attrs import frozen

from vmnet import testing
from vmnet.hooks import discovery, loading
from vmnet.hooks.discovery import Plugin
from vmnet.hooks.loading import Plugins
from vmnet.model.delivery import Delivery, Handover
from vmnet.model.devices import Device
from vmnet.model.identity import Identity
from vmnet.model.machine import Command
from vmnet.model.wiring import Requirements, Wiring
from vmnet.settings import core, table
from vmnet.settings.table import Settings


@frozen
class Plan:
    """The results of a plugin for an identity; None for a hook that it does not implement.

    :param status: for a running VM whose guest has taken nothing yet
    """

    requirements: Requirements | None
    delivery: Delivery | None
    forwarder: Delivery | None
    devices: tuple[Device, ...] | None
    command: Command | None
    status: tuple[Handover, ...] | None

    @property
    def deliveries(self) -> tuple[Delivery, ...]:
        return tuple(
            delivery for delivery in (self.delivery, self.forwarder) if delivery is not None
        )


@frozen
class Subject:
    """A plugin, and the settings that its hooks get."""

    plugin: Plugin
    plugins: Plugins
    settings: Settings

    def implements(self, hook: str) -> bool:
        return self.plugins.implements(self.plugin.name, hook)

    def call(self, hook: str, kind: type[Any], **given: Any) -> Any:
        """Call a hook and return its result; None if the plugin does not implement it.

        :raises vmnet.errors.VmnetError: the plugin refuses, or breaks the contract
        """
        if self.plugins.takes_settings(hook):
            given["settings"] = self.settings
        return self.plugins.call(self.plugin.name, hook, kind, **given)

    def plan(self, identity: Identity) -> Plan:
        """Call all hooks without side effects: the planning hooks in order, and the status.

        :raises vmnet.errors.VmnetError: the plugin refuses, or breaks the contract
        """
        needs = self.call("vmnet_ipam_requirements", Requirements, identity=identity)
        wiring = wire(identity, needs or Requirements())
        given = {"identity": identity, "wiring": wiring}
        served = {"identity": identity, "wiring": wire(identity, Requirements(dns=True))}
        machine = testing.machine(run_dir=self.settings[core.RUN_DIR])
        return Plan(
            needs,
            self.call("vmnet_ipam_deliver", Delivery, **given),
            self.call("vmnet_forwarder", Delivery, **served),
            self.call("vmnet_devices", tuple, **given),
            self.call("vmnet_launch_command", Command, machine=machine, arguments=()),
            self.call("vmnet_ipam_status", tuple, **given),
        )


def load(name: str, environ: Mapping[str, str]) -> Subject:
    """Load the installed plugin of this name, and no other plugin.

    :raises LookupError: it is not installed
    :raises vmnet.errors.VmnetError: it can't be loaded, or the environment has a wrong setting
    """
    installed = {plugin.name: plugin for plugin in discovery.discover()}
    if name not in installed:
        raise LookupError(f"no plugin {name} is installed; installed are {', '.join(installed)}")
    plugins = loading.load([installed[name]])
    return Subject(installed[name], plugins, table.parse(environ, plugins.settings()))


def wire(identity: Identity, needs: Requirements) -> Wiring:
    """Return a wiring like that of the built-in bridge strategy."""
    nameserver = ""
    if needs.dns and identity.interfaces:
        first = identity.interfaces[0]
        nameserver = _spare(first.on_link(first.ipv4[0])) if first.ipv4 else "169.254.77.1/32"
    return testing.wiring(identity, contain=needs.contain, nameserver=nameserver)


def _spare(own: IPv4Interface) -> str:
    if own.network.num_addresses < 8:
        return "169.254.77.1/32"
    return f"{own.network[-2]}/{own.network.prefixlen}"
