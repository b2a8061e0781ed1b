"""The stages as typed methods: the rest of vmnet calls plugins only here."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from attrs import evolve

from vmnet.errors import PluginError, PrivilegeError
from vmnet.hooks import results, stages, unused
from vmnet.hooks.deliveries import require_own_files
from vmnet.hooks.discovery import Plugin
from vmnet.hooks.loading import RESULTS_HINT, Plugins, wrong_value
from vmnet.hooks.selection import Choice, Selection
from vmnet.model import validation
from vmnet.model.base import frozen
from vmnet.model.delivery import Delivery, Handover
from vmnet.model.devices import Device, daemon_of
from vmnet.model.identity import Identity
from vmnet.model.machine import Command, Machine, NicChange
from vmnet.model.wiring import Requirements, Wiring
from vmnet.settings import core
from vmnet.settings.table import Settings

Result = TypeVar("Result")
_log = logging.getLogger(__name__)


@frozen
class Hooks:
    """Calls the hooks of each stage on the strategies that the settings select."""

    plugins: Plugins
    selection: Selection
    settings: Settings

    def unused_settings(self) -> tuple[str, ...]:
        """Return a line for each setting in the environment that no selected strategy uses."""
        return tuple(unused.lines(self.settings, self.selection, self.plugins.strategies()))

    def unused_with(self, wiring: Wiring) -> tuple[str, ...]:
        """Return a line for each setting in the environment that the bridge strategy ignores."""
        fixed = self.fixed(wiring)
        return tuple(unused.with_wiring(self.settings, wiring, self.plugins.observers, fixed))

    def capture(self) -> Identity:
        """Return the container's identity. The hook may wait for interfaces that come later."""
        plugins = self.plugins
        if self.settings[core.INTERFACES] is not None:
            seconds = plugins.seconds + self.settings[core.INTERFACES_TIMEOUT]
            plugins = evolve(plugins, seconds=seconds)
        hooks = evolve(self, plugins=plugins)
        return hooks._strategy(self.selection[stages.CAPTURE], "vmnet_capture", Identity)

    @property
    def allocators(self) -> tuple[str, ...]:
        """The selected IPAM strategies that allocate, in calling order.

        :raises PluginError: one of them can't release
        """
        names = self.selection[stages.IPAM].names
        allocating = tuple(
            name for name in names if self.plugins.implements(name, "vmnet_ipam_allocate")
        )
        for name in allocating:
            self._require(name, "vmnet_ipam_release")
        return allocating

    def allocate(self, name: str, identity: Identity) -> Identity:
        """Return the identity with the allocations of a strategy.

        :raises PluginError: the strategy failed, or changed the interfaces
        """
        self._require(name, "vmnet_ipam_release")
        allocated: Identity | None = self._call(
            name, "vmnet_ipam_allocate", Identity, identity=identity
        )
        if allocated is None:
            return identity
        if _nics(allocated) != _nics(identity):
            raise PluginError(
                f"plugin {self.plugins.installed[name]} returned other interfaces from "
                f"vmnet_ipam_allocate: {_nics(allocated)} instead of {_nics(identity)}",
                "keep the names, MACs and order of the container's interfaces",
            )
        if fault := validation.allocation_fault(identity, allocated):
            raise self._wrong_value(name, "vmnet_ipam_allocate", fault)
        return allocated

    def release(self, name: str, identity: Identity) -> None:
        """Release what a strategy, selected or not, allocated for an identity."""
        self._require(name, "vmnet_ipam_release")
        self._call(name, "vmnet_ipam_release", type(None), identity=identity)

    def requirements(self, identity: Identity) -> Requirements:
        """Return the combined requirements of the selected IPAM strategies."""
        total = Requirements()
        for name in self.selection[stages.IPAM].names:
            result = self._call(name, "vmnet_ipam_requirements", Requirements, identity=identity)
            total |= result or Requirements()
        return total

    def plan_bridge(self, identity: Identity, requirements: Requirements) -> Wiring:
        """Return the wiring of the first bridge strategy that lacks no privilege.

        :raises PluginError: the strategy failed, or planned a wiring that cannot work
        :raises PrivilegeError: every strategy lacks a privilege, or one that can be avoided
        """
        *others, last = self.selection[stages.BRIDGE].names
        for name in others:
            try:
                return self._plan_bridge(name, identity, requirements)
            except PrivilegeError as error:
                if error.avoidable:
                    raise
                _log.info("not wired by %s: %s", name, error, extra={"event": "strategy.skipped"})
        return self._plan_bridge(last, identity, requirements)

    def _plan_bridge(self, name: str, identity: Identity, requirements: Requirements) -> Wiring:
        hook = "vmnet_bridge_plan"
        wiring = self._required(name, hook, Wiring, identity=identity, requirements=requirements)
        if fault := validation.wiring_fault(wiring, identity):
            raise self._wrong_value(name, hook, fault)
        return evolve(wiring, strategy=name)

    def fixed(self, wiring: Wiring) -> str:
        """Return the strategy that keeps a running VM from getting a network; empty if none does.

        :param wiring: of the VM
        """
        (launcher,) = self.selection[stages.LAUNCH].names
        needed = ((wiring.strategy, "vmnet_bridge_extend"), (launcher, "vmnet_launch_change"))
        return next((name for name, hook in needed if not self.plugins.implements(name, hook)), "")

    def extend_bridge(
        self, identity: Identity, requirements: Requirements, wiring: Wiring
    ) -> Wiring:
        """Return the wiring with ports for the interfaces that have none.

        :raises PluginError: the strategy failed, or planned a wiring that cannot work
        """
        name, hook = wiring.strategy, "vmnet_bridge_extend"
        extended = self._required(
            name, hook, Wiring, identity=identity, requirements=requirements, wiring=wiring
        )
        fault = validation.wiring_fault(extended, identity)
        if not fault and not set(wiring.ports) <= set(extended.ports):
            fault = "an existing port is missing or changed"
        if fault:
            raise self._wrong_value(name, hook, fault)
        return evolve(extended, strategy=name)

    def change_bridge(
        self, identity: Identity, requirements: Requirements, wiring: Wiring
    ) -> Wiring:
        """Return the wiring with ports that correspond to the changed interfaces.

        :raises PluginError: the strategy failed, or planned a wiring that cannot work
        """
        name, hook = wiring.strategy, "vmnet_bridge_change"
        changed = self._required(
            name, hook, Wiring, identity=identity, requirements=requirements, wiring=wiring
        )
        if fault := validation.wiring_fault(changed, identity):
            raise self._wrong_value(name, hook, fault)
        return evolve(changed, strategy=name)

    def deliver(self, identity: Identity, wiring: Wiring) -> tuple[Delivery, ...]:
        """Return the deliveries of the bridge, of the IPAM strategies, and of a needed forwarder.

        If the forwarder is also a selected IPAM strategy, its delivery forwards DNS already.
        """
        hook = "vmnet_ipam_deliver"
        selected = self.selection[stages.IPAM].names
        calls = [(name, hook) for name in selected if self.plugins.implements(name, hook)]
        if self.plugins.implements(wiring.strategy, "vmnet_bridge_deliver"):
            calls.insert(0, (wiring.strategy, "vmnet_bridge_deliver"))
        (forwarder,) = self.selection[stages.FORWARDER].names
        if wiring.needs_forwarder and forwarder not in selected:
            calls.append((forwarder, "vmnet_forwarder"))
        taken: dict[Path, Plugin] = {}
        deliveries = []
        for name, hook in calls:
            delivery = self._required(name, hook, Delivery, identity=identity, wiring=wiring)
            if fault := results.delivery_fault(delivery):
                raise self._wrong_value(name, hook, fault)
            plugin = self.plugins.installed[name]
            require_own_files(plugin, hook, delivery, self.settings[core.RUN_DIR], taken)
            deliveries.append(delivery)
        return tuple(deliveries)

    def status(self, identity: Identity, wiring: Wiring) -> tuple[tuple[str, Handover], ...]:
        """Return what each selected IPAM strategy, by name, reports about the running guest."""
        return tuple(
            (name, handover)
            for name in self.selection[stages.IPAM].names
            for handover in self._items(
                name, "vmnet_ipam_status", Handover, identity=identity, wiring=wiring
            )
        )

    def devices(self, identity: Identity, wiring: Wiring) -> tuple[Device, ...]:
        """Return the devices of the selected IPAM strategies and of the plugins for devices."""
        hook, found = "vmnet_devices", list[Device]()
        taken: dict[Path, Plugin] = {}
        for name in self.selection[stages.DEVICES].names:
            items = self._items(name, hook, *get_args(Device), identity=identity, wiring=wiring)
            daemons = Delivery(name, daemons=tuple(filter(None, map(daemon_of, items))))
            if fault := results.delivery_fault(daemons):
                raise self._wrong_value(name, hook, fault)
            plugin = self.plugins.installed[name]
            require_own_files(plugin, hook, daemons, self.settings[core.RUN_DIR], taken)
            found += items
        return tuple(found)

    def own_firmware(self, arguments: Sequence[str]) -> str:
        """Return the user's own argument that sets the firmware; empty if there is none."""
        (name,) = self.selection[stages.LAUNCH].names
        found: str | None = self._call(name, "vmnet_launch_firmware", str, arguments=arguments)
        return found or ""

    def launch_command(self, machine: Machine, arguments: Sequence[str]) -> Command:
        choice, hook = self.selection[stages.LAUNCH], "vmnet_launch_command"
        command = self._strategy(choice, hook, Command, machine=machine, arguments=arguments)
        if fault := results.command_fault(command):
            raise self._wrong_value(choice.names[0], hook, fault)
        return command

    def build_bridge(self, wiring: Wiring) -> None:
        self._required(wiring.strategy, "vmnet_bridge_build", bool, wiring=wiring)

    def rejoin_bridge(self, wiring: Wiring) -> None:
        """Make ports correspond to their plan, and connect new uplinks."""
        self._required(wiring.strategy, "vmnet_bridge_rejoin", bool, wiring=wiring)

    @property
    def restorers(self) -> frozenset[str]:
        """The strategies, selected or not, that can restore a network."""
        names = self.plugins.names
        return frozenset(n for n in names if self.plugins.implements(n, "vmnet_bridge_restore"))

    def restore_bridge(self, wiring: Wiring) -> None:
        """Restore the network with the strategy, selected or not, that planned the wiring.

        :raises PluginError: the strategy is not installed, or it failed
        """
        name = wiring.strategy
        if name not in self.plugins.names:
            raise PluginError(
                f"the bridge strategy {name}, which wired this network to a VM, is not installed",
                "install it again, or recreate the pod or container",
            )
        self._required(name, "vmnet_bridge_restore", bool, wiring=wiring)

    def launch(self, command: Command) -> None:
        (name,) = self.selection[stages.LAUNCH].names
        self._require(name, "vmnet_launch")
        self._call(name, "vmnet_launch", type(None), command=command)

    def change_nic(self, command: Command, change: NicChange) -> None:
        """Add or remove a NIC of the running VM, or change its carrier."""
        choice = self.selection[stages.LAUNCH]
        self._strategy(choice, "vmnet_launch_change", bool, command=command, change=change)

    def _strategy(self, stage: Choice, hook: str, kind: type[Result], **given: Any) -> Result:
        (name,) = stage.names
        return self._required(name, hook, kind, **given)

    def _required(self, name: str, hook: str, kind: type[Result], **given: Any) -> Result:
        self._require(name, hook)
        result: Result | None = self._call(name, hook, kind, **given)
        if result is None:
            raise PluginError(
                f"plugin {self.plugins.installed[name]} returned nothing from {hook}", RESULTS_HINT
            )
        return result

    def _items(self, name: str, hook: str, *kinds: type, **given: Any) -> tuple[Any, ...]:
        """Return the items of a result that may be None."""
        items: tuple[Any, ...] = self._call(name, hook, tuple, **given) or ()
        if fault := results.item_fault(items, kinds):
            raise self._wrong_value(name, hook, fault)
        return items

    def _call(self, name: str, hook: str, kind: type[Any], **given: Any) -> Any:
        if self.plugins.takes_settings(hook):
            given["settings"] = self.settings
        return self.plugins.call(name, hook, kind, **given)

    def _wrong_value(self, name: str, hook: str, fault: str) -> PluginError:
        return wrong_value(self.plugins.installed[name], hook, fault)

    def _require(self, name: str, hook: str) -> None:
        if self.plugins.implements(name, hook):
            return
        able = [plugin for plugin in self.plugins.names if self.plugins.implements(plugin, hook)]
        raise PluginError(
            f"plugin {self.plugins.installed[name]} does not implement {hook}, "
            "which its stage needs",
            f"plugins that implement it: {', '.join(able) or 'none'}",
        )


def _nics(identity: Identity) -> str:
    return ", ".join(f"{interface.name} {interface.mac}" for interface in identity.interfaces)
