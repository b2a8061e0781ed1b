"""The plugin under test: loaded as a start loads it, and asked as a start asks it."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Interface
from typing import Any

from attrs import frozen

from vmnet import discovery, hooks, testing
from vmnet import settings as table
from vmnet.delivery import Delivery, Handover
from vmnet.discovery import Plugin
from vmnet.hooks import Plugins
from vmnet.identity import Identity
from vmnet.machine import Cdrom, Command, Disk
from vmnet.settings import Settings
from vmnet.wiring import Requirements, Wiring


@frozen
class Plan:
    """What a plugin answers for one identity; None where it has no such hook.

    :param status: of a machine that runs, and whose guest has taken nothing yet
    """

    requirements: Requirements | None
    delivery: Delivery | None
    forwarder: Delivery | None
    devices: tuple[Disk | Cdrom, ...] | None
    command: Command | None
    status: tuple[Handover, ...] | None

    @property
    def deliveries(self) -> tuple[Delivery, ...]:
        return tuple(one for one in (self.delivery, self.forwarder) if one is not None)


@frozen
class Subject:
    """One plugin, and what its hooks are given."""

    plugin: Plugin
    plugins: Plugins
    settings: Settings

    def implements(self, hook: str) -> bool:
        return self.plugins.implements(self.plugin.name, hook)

    def ask(self, hook: str, kind: type[Any], **given: Any) -> Any:
        """The answer of one hook; None where the plugin has none.

        :raises vmnet.errors.VmnetError: the plugin refuses, or breaks the contract
        """
        if self.plugins.takes_settings(hook):
            given["settings"] = self.settings
        return self.plugins.call(self.plugin.name, hook, kind, **given)

    def plan(self, identity: Identity) -> Plan:
        """All hooks that only look and tell: those of planning, in a start's order, and the status.

        :raises vmnet.errors.VmnetError: the plugin refuses, or breaks the contract
        """
        needs = self.ask("vmnet_ipam_requirements", Requirements, identity=identity)
        wiring = wire(identity, needs or Requirements())
        given = {"identity": identity, "wiring": wiring}
        served = {"identity": identity, "wiring": wire(identity, Requirements(dns=True))}
        machine = testing.machine(run_dir=self.settings[table.RUN_DIR])
        return Plan(
            needs,
            self.ask("vmnet_ipam_deliver", Delivery, **given),
            self.ask("vmnet_forwarder", Delivery, **served),
            self.ask("vmnet_devices", tuple, **given),
            self.ask("vmnet_launch_command", Command, machine=machine, arguments=()),
            self.ask("vmnet_ipam_status", tuple, **given),
        )


def load(name: str, environ: Mapping[str, str]) -> Subject:
    """The installed plugin of that name, alone.

    :raises LookupError: none has it
    :raises vmnet.errors.VmnetError: it can't be loaded, or the environment is not what it takes
    """
    found = {one.name: one for one in discovery.discover()}
    if name not in found:
        raise LookupError(f"no plugin {name} is installed; there are: {', '.join(found)}")
    plugins = hooks.load([found[name]])
    return Subject(found[name], plugins, table.parse(environ, plugins.settings()))


def wire(identity: Identity, needs: Requirements) -> Wiring:
    """The wiring of an identity as the built-in bridge strategy plans it."""
    nameserver = ""
    if needs.dns and identity.interfaces:
        first = identity.interfaces[0]
        nameserver = _spare(first.on_link(first.ipv4[0])) if first.ipv4 else "169.254.77.1/32"
    return testing.wiring(identity, contain=needs.contain, nameserver=nameserver)


def _spare(own: IPv4Interface) -> str:
    if own.network.num_addresses < 8:
        return "169.254.77.1/32"
    return f"{own.network[-2]}/{own.network.prefixlen}"
