"""The pipeline: capture, IPAM, bridge, devices, launch, planned as a whole before anything changes.

Planning reads and decides; :mod:`vmnet.lifecycle.start` carries out. So `vmnet plan` shows exactly
what `vmnet run` does, and bad input never costs a change to the network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from vmnet import assembly, discovery, hooks, selection, settings
from vmnet.delivery import Delivery
from vmnet.errors import DeliveryError
from vmnet.hooks import Hooks
from vmnet.identity import Identity
from vmnet.machine import Command, Machine
from vmnet.noun import Noun, noun
from vmnet.wiring import Wiring


@noun
class Plan(Noun):
    """All that a start will do, as data.

    :param unallocated: strategies that allocate, and were not asked: a start may have another
        identity than this
    :param outside: another system gives the guest its addresses, which may be others
    """

    identity: Identity
    wiring: Wiring
    deliveries: tuple[Delivery, ...]
    machine: Machine
    command: Command
    unallocated: tuple[str, ...] = ()
    outside: bool = False

    @property
    def not_carried(self) -> tuple[str, ...]:
        """What of the identity doesn't reach the guest, each named by the strategy it concerns."""
        return tuple(
            f"{one.strategy}: {line}" for one in self.deliveries for line in one.not_carried
        )


def select(environ: Mapping[str, str]) -> Hooks:
    """The strategies that the environment chooses, ready to be called.

    :raises vmnet.errors.VmnetError: a setting or a plugin is wrong
    """
    seconds = settings.value(environ, settings.HOOK_TIMEOUT)
    plugins = hooks.load(discovery.discover(), seconds)
    parsed = settings.parse(environ, plugins.settings())
    return Hooks(
        plugins, selection.select(parsed, plugins.strategies(), plugins.undelivering()), parsed
    )


def plan(
    hooks: Hooks,
    arguments: Sequence[str] = (),
    known: tuple[Identity, Wiring] | None = None,
    allocate: Callable[[Identity], Identity] | None = None,
) -> Plan:
    """Decide everything, changing nothing in this container.

    :param arguments: for the hypervisor, behind its own
    :param known: what an earlier plan found, where the container has handed it over already
    :param allocate: what has another system allocate what the guest is to have; it is not asked
        where None
    :raises vmnet.errors.VmnetError: the start can't succeed
    """
    boot = assembly.boot_devices(hooks.settings)
    outside = False
    if known is not None:
        identity, wiring = known
    else:
        identity = _survey(hooks, allocate)
        requirements = hooks.requirements(identity)
        wiring, outside = hooks.plan_bridge(identity, requirements), requirements.any_address
    deliveries = hooks.deliver(identity, wiring)
    devices = hooks.devices(identity, wiring)
    machine = assembly.assemble(hooks.settings, identity, wiring, boot, devices)
    command = hooks.launch_command(machine, arguments)
    unallocated = () if known or allocate else hooks.allocators
    return Plan(identity, wiring, deliveries, machine, command, unallocated, outside)


def depends_on_allocation(hooks: Hooks, identity: Identity) -> bool:
    """Whether there is no address before one is allocated, so that only a start can tell."""
    return bool(hooks.allocators) and not any(one.addresses for one in identity.interfaces)


def _survey(hooks: Hooks, allocate: Callable[[Identity], Identity] | None) -> Identity:
    identity = hooks.capture()
    if allocate is not None:
        identity = allocate(identity)
    elif depends_on_allocation(hooks, identity):
        raise DeliveryError(
            f"nothing to plan with: the container has no address, and "
            f"{', '.join(hooks.allocators)} allocates at a start only",
            "`vmnet run` asks, and logs what goes to the guest; `vmnet check` looks at the rest",
        )
    return identity
