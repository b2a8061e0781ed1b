"""Select strategies by the names in the settings, never by registration order."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from vmnet.errors import SettingsError
from vmnet.hooks import stages
from vmnet.hooks.loading import Plugins
from vmnet.hooks.stages import Stage
from vmnet.model.base import frozen
from vmnet.settings.core import IPAM, NO_DHCP
from vmnet.settings.table import Setting, Settings
from vmnet.settings.values import nearest


@frozen
class Choice:
    """The selected strategies of a stage, in calling order.

    :param reason: ``default``, or the variable that selected the strategies
    """

    names: tuple[str, ...]
    reason: str


@frozen
class Selection:
    """The selected strategies of each stage.

    :param choices: by the name of the selecting setting
    """

    choices: Mapping[str, Choice]

    def __getitem__(self, stage: Stage) -> Choice:
        """Return the choice for a stage that has a setting."""
        assert stage.setting is not None
        return self.choices[stage.setting.name]


def select_from(plugins: Plugins, settings: Settings) -> Selection:
    """Return the strategies that the settings select among the plugins.

    :raises SettingsError: a strategy is not installed, or two settings contradict each other
    """
    return select(settings, plugins.strategies(), plugins.allocate_only(), plugins.names)


def select(
    settings: Settings,
    strategies: Mapping[str, tuple[str, ...]],
    allocate_only: Collection[str] = (),
    installed: Collection[str] = (),
) -> Selection:
    """Return the strategies that the settings select.

    :param strategies: for each selecting variable, the names of the plugins that qualify
    :param allocate_only: IPAM strategies that allocate but do not deliver
    :param installed: the names of all plugins
    :raises SettingsError: a strategy is not installed, or two settings contradict each other
    """
    choices: dict[str, Choice] = {}
    rows = stages.selectable()
    for name, stage in rows.items():
        if stage is stages.IPAM:
            choices[name] = _delivered(settings, _ipam(settings), allocate_only)
        else:
            row = settings.rows[name]
            names = settings[row] or ()
            names = names if isinstance(names, tuple) else (names,)
            choices[name] = Choice(names, _reason(settings, row))
        _refuse_unknown(stage, choices[name], strategies[name], installed)
    return Selection({name: _following(choices, name, stage) for name, stage in rows.items()})


def _following(choices: Mapping[str, Choice], name: str, stage: Stage) -> Choice:
    """Return a stage's choice, after the choice of the stage that it follows."""
    choice = choices[name]
    if stage.follows is None or stage.follows.setting is None:
        return choice
    first = choices[stage.follows.setting.name]
    reasons = (first.reason, choice.reason) if choice.names else (first.reason,)
    return Choice((*first.names, *choice.names), ", ".join(reasons))


def _ipam(settings: Settings) -> Choice:
    names = settings[IPAM]
    if settings[NO_DHCP] and not settings.is_given(IPAM):
        return Choice(("nodhcp",), _reason(settings, NO_DHCP))
    if "dnsmasq" in names and (settings[NO_DHCP] or "nodhcp" in names):
        contradiction = f"VMNET_IPAM={','.join(names)} contradicts itself"
        if settings[NO_DHCP]:
            given = f"NO_DHCP={settings.given[NO_DHCP.name]}"
            contradiction = f"{given} and VMNET_IPAM={','.join(names)} contradict each other"
        raise SettingsError(
            f"{contradiction}: dnsmasq serves DHCP",
            "remove NO_DHCP or nodhcp to serve DHCP; otherwise set VMNET_IPAM=nodhcp",
        )
    return Choice(names, _reason(settings, IPAM))


def _delivered(settings: Settings, choice: Choice, allocate_only: Collection[str]) -> Choice:
    """Add a strategy that delivers, if the chosen strategies only allocate."""
    if any(name not in allocate_only for name in choice.names):
        return choice
    name = "nodhcp" if settings[NO_DHCP] else IPAM.default
    return Choice((*choice.names, name), f"{choice.reason}, and {name} to deliver it")


def _reason(settings: Settings, row: Setting[Any]) -> str:
    given = settings.given.get(row.name)
    return f"{row.name}={given}" if given is not None else "default"


def _refuse_unknown(
    stage: Stage, choice: Choice, qualified: tuple[str, ...], installed: Collection[str]
) -> None:
    assert stage.setting is not None
    for name in choice.names:
        if name not in qualified:
            if name in installed:
                lacking = " or ".join(stage.qualifying)
                reason = f": the installed plugin {name} does not implement {lacking}"
            else:
                reason = nearest(name, qualified)
            raise SettingsError(
                f"{stage.setting.name}={','.join(choice.names)}: there is no strategy {name} for "
                f"this stage{reason}",
                f"installed: {', '.join(qualified) or 'none'}; see `vmnet hooks`",
            )
