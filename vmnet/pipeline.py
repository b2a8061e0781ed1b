"""Plan all stages, capture, IPAM, bridge, devices and launch, before anything changes.

Planning only reads and decides; :mod:`vmnet.lifecycle.start` carries out the plan. So `vmnet plan`
shows exactly what `vmnet run` does, and bad input never changes the network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from vmnet.errors import DeliveryError
from vmnet.hooks import discovery, loading, selection
from vmnet.hooks.facade import Hooks
from vmnet.model.base import frozen
from vmnet.model.delivery import Daemon, Delivery
from vmnet.model.devices import daemon_of
from vmnet.model.identity import Identity
from vmnet.model.machine import Command, Machine
from vmnet.model.wiring import Wiring
from vmnet.planning import network_boot, takeover
from vmnet.planning.booting.boot import boot_devices
from vmnet.planning.machine import assemble
from vmnet.settings import core, ports, table
from vmnet.supervision import exporter_plan


@frozen
class Plan:
    """Everything a start will do, as data.

    :param unallocated: strategies that would allocate at a start, but were not called; the identity
        may differ from that of a start
    :param unused_settings: a line for each variable that is set and has no effect
    :param outside: another system gives the guest its addresses, which may differ from the identity
    :param exporter: the daemon that serves the metrics
    :param saved_vm: whether a start resumes the VM that was saved, in words; empty if none was
    """

    identity: Identity
    wiring: Wiring
    deliveries: tuple[Delivery, ...]
    machine: Machine
    command: Command
    unallocated: tuple[str, ...] = ()
    outside: bool = False
    unused_settings: tuple[str, ...] = ()
    exporter: Daemon | None = None
    saved_vm: str = ""

    @property
    def device_daemons(self) -> tuple[Daemon, ...]:
        """The daemons that serve devices of the machine."""
        return tuple(filter(None, map(daemon_of, self.machine.devices)))

    @property
    def daemons(self) -> tuple[Daemon, ...]:
        """All daemons, in the order of their start."""
        delivered = (daemon for delivery in self.deliveries for daemon in delivery.daemons)
        return (*delivered, *self.device_daemons, *filter(None, (self.exporter,)))

    @property
    def not_carried(self) -> tuple[str, ...]:
        """The parts of the identity that don't reach the guest, each with its strategy."""
        return tuple(
            f"{delivery.strategy}: {part}"
            for delivery in self.deliveries
            for part in delivery.not_carried
        )


def select(environ: Mapping[str, str]) -> Hooks:
    """Load the plugins and select strategies from the environment.

    :raises vmnet.errors.VmnetError: a setting or a plugin is wrong
    """
    seconds = table.value(environ, core.HOOK_TIMEOUT)
    plugins = loading.load(discovery.discover(), seconds)
    parsed = ports.keep_for_metrics(table.parse(environ, plugins.settings()))
    return Hooks(plugins, selection.select_from(plugins, parsed), parsed)


def plan(
    hooks: Hooks,
    arguments: Sequence[str] = (),
    known: tuple[Identity, Wiring] | None = None,
    allocate: Callable[[Identity], Identity] | None = None,
    own_firmware: str = "",
) -> Plan:
    """Plan a start without changing anything in this container.

    :param arguments: further arguments for the hypervisor
    :param known: the identity and wiring of an earlier plan, if the container has already handed
        over its network
    :param allocate: lets another system allocate addresses for the guest; None: no allocation
    :param own_firmware: the argument of an earlier start that set the firmware
    :raises vmnet.errors.VmnetError: the start can't succeed
    """
    boot = boot_devices(hooks.settings)
    outside = False
    if known is not None:
        identity, wiring = known
    else:
        identity = _survey(hooks, allocate)
        exporter_plan.require(hooks.settings, identity)
        requirements = hooks.requirements(identity)
        wiring, outside = hooks.plan_bridge(identity, requirements), requirements.any_address
        identity = takeover.examine(hooks.settings, identity, wiring)
        network_boot.require(hooks.settings, identity, wiring, outside=outside)
    deliveries = hooks.deliver(identity, wiring)
    devices = hooks.devices(identity, wiring)
    own = hooks.own_firmware(arguments) or own_firmware
    machine = assemble(hooks.settings, identity, wiring, boot, devices, own)
    command = hooks.launch_command(machine, arguments)
    unallocated = () if known or allocate else hooks.allocators
    return Plan(
        identity=identity,
        wiring=wiring,
        deliveries=deliveries,
        machine=machine,
        command=command,
        unallocated=unallocated,
        outside=outside,
        unused_settings=(*hooks.unused_settings(), *hooks.unused_with(wiring)),
        exporter=exporter_plan.plan(hooks.settings, identity, wiring),
    )


def depends_on_allocation(hooks: Hooks, identity: Identity) -> bool:
    """Return whether the container has no address until a start allocates one."""
    return bool(hooks.allocators) and not any(
        interface.addresses for interface in identity.interfaces
    )


def _survey(hooks: Hooks, allocate: Callable[[Identity], Identity] | None) -> Identity:
    identity = hooks.capture()
    if allocate is not None:
        identity = allocate(identity)
    elif depends_on_allocation(hooks, identity):
        raise DeliveryError(
            "cannot plan: the container has no address, and "
            f"{', '.join(hooks.allocators)} allocates addresses only at a start",
            "`vmnet run` allocates and logs the addresses; `vmnet check` checks everything else",
        )
    return identity
