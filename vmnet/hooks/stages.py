"""The stages in calling order, one row each. A new stage is a row here and a hookspecs module."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from vmnet.hookspecs import bridge, capture, devices, forwarder, ipam, launch, settings
from vmnet.model.base import frozen
from vmnet.settings import core
from vmnet.settings.table import Setting

_PREFIX = "vmnet_"


@frozen
class Stage:
    """A stage and the plugins that vmnet calls for it.

    :param specs: the module with the specifications of its hooks
    :param setting: selects the strategies; None: vmnet calls every installed plugin
    :param qualifying: a plugin that implements any of these hooks is a strategy of the stage; empty
        if another stage with the same setting decides
    :param follows: its strategies are called first; a plugin that is a strategy of it can't be
        selected for this stage as well
    :param condition: when vmnet calls the strategies at all, for the documentation
    """

    specs: ModuleType
    setting: Setting[Any] | None
    qualifying: tuple[str, ...] = ()
    follows: Stage | None = None
    condition: str = ""

    @property
    def name(self) -> str:
        return self.specs.__name__.rpartition(".")[2]

    @property
    def hooks(self) -> tuple[str, ...]:
        """The names of the hooks, in the order of their specifications."""
        return tuple(name for name in vars(self.specs) if name.startswith(_PREFIX))


SETTINGS = Stage(settings, None)
CAPTURE = Stage(capture, core.CAPTURE, ("vmnet_capture",))
IPAM = Stage(ipam, core.IPAM, ("vmnet_ipam_deliver", "vmnet_ipam_allocate"))
BRIDGE = Stage(
    bridge, core.BRIDGE, ("vmnet_bridge_plan",), condition="until one has its privileges"
)
FORWARDER = Stage(
    forwarder, core.FORWARDER, ("vmnet_forwarder",), condition="if a forwarder is needed"
)
DEVICES = Stage(devices, core.DEVICES, ("vmnet_devices",), follows=IPAM)
LAUNCH = Stage(launch, core.LAUNCH, ("vmnet_launch_command",))

STAGES = (SETTINGS, CAPTURE, IPAM, BRIDGE, FORWARDER, DEVICES, LAUNCH)


def hooks() -> tuple[str, ...]:
    """Return the names of all hooks, in the order of the stages."""
    return tuple(hook for stage in STAGES for hook in stage.hooks)


def selectable() -> dict[str, Stage]:
    """Return the stages whose strategies are selected, by the name of the selecting setting."""
    return {
        stage.setting.name: stage
        for stage in STAGES
        if stage.setting is not None and stage.qualifying
    }
