"""Choose strategies by name, from the settings; registration order never decides."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from vmnet.errors import SettingsError
from vmnet.settings import (
    BRIDGE,
    CAPTURE,
    FORWARDER,
    IPAM,
    LAUNCH,
    NO_DHCP,
    Setting,
    Settings,
)
from vmnet.values import nearest


@frozen
class Choice:
    """The strategies of one stage, in the order in which they are called.

    :param reason: why these: ``default`` or the variable that asked for them
    """

    names: tuple[str, ...]
    reason: str


@frozen
class Selection:
    capture: Choice
    ipam: Choice
    bridge: Choice
    forwarder: Choice
    launch: Choice

    @property
    def names(self) -> frozenset[str]:
        stages = (self.capture, self.ipam, self.bridge, self.forwarder, self.launch)
        return frozenset(name for stage in stages for name in stage.names)


def select(settings: Settings, installed: tuple[str, ...]) -> Selection:
    """The strategies that the settings ask for.

    :param installed: the names of all plugins
    :raises SettingsError: one is not installed, or two settings contradict each other
    """
    selection = Selection(
        capture=_single(settings, CAPTURE),
        ipam=_ipam(settings),
        bridge=_single(settings, BRIDGE),
        forwarder=_single(settings, FORWARDER),
        launch=_single(settings, LAUNCH),
    )
    for row in (CAPTURE, IPAM, BRIDGE, FORWARDER, LAUNCH):
        stage: Choice = getattr(selection, row.name.removeprefix("VMNET_").lower())
        _refuse_unknown(row, stage.names, installed)
    return selection


def _single(settings: Settings, row: Setting[str]) -> Choice:
    return Choice((settings[row],), _reason(settings, row))


def _ipam(settings: Settings) -> Choice:
    names = settings[IPAM]
    if settings[NO_DHCP] and not settings.is_given(IPAM):
        return Choice(("nodhcp",), _reason(settings, NO_DHCP))
    if "dnsmasq" in names and (settings[NO_DHCP] or "nodhcp" in names):
        contradiction = f"VMNET_IPAM={','.join(names)}"
        if settings[NO_DHCP]:
            contradiction = f"NO_DHCP={settings.given[NO_DHCP.name]} and {contradiction}"
        raise SettingsError(
            f"{contradiction} contradict each other: dnsmasq serves DHCP",
            "leave out NO_DHCP to have it served, or set VMNET_IPAM=nodhcp",
        )
    return Choice(names, _reason(settings, IPAM))


def _reason(settings: Settings, row: Setting[Any]) -> str:
    given = settings.given.get(row.name)
    return f"{row.name}={given}" if given is not None else "default"


def _refuse_unknown(row: Setting[Any], names: tuple[str, ...], installed: tuple[str, ...]) -> None:
    for name in names:
        if name not in installed:
            raise SettingsError(
                f"{row.name}={','.join(names)}: there is no strategy {name}"
                f"{nearest(name, installed)}",
                f"installed: {', '.join(installed)}; `vmnet hooks` tells more",
            )
