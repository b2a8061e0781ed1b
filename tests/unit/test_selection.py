"""Which strategies an environment chooses, and why."""

from __future__ import annotations

import pytest

from vmnet import testing
from vmnet.errors import SettingsError
from vmnet.selection import Choice, Selection, select

INSTALLED = {
    "VMNET_CAPTURE": ("cni", "netns"),
    "VMNET_IPAM": ("cloudinit", "dnsmasq", "nodhcp"),
    "VMNET_BRIDGE": ("bridge", "macvtap"),
    "VMNET_FORWARDER": ("dnsmasq", "unbound"),
    "VMNET_LAUNCH": ("firecracker", "qemu"),
}


def chosen(**environ: str) -> Selection:
    return select(testing.settings(environ), INSTALLED)


def test_the_default_of_every_stage() -> None:
    assert chosen() == Selection(
        capture=Choice(("netns",), "default"),
        ipam=Choice(("dnsmasq",), "default"),
        bridge=Choice(("bridge",), "default"),
        forwarder=Choice(("dnsmasq",), "default"),
        launch=Choice(("qemu",), "default"),
    )


@pytest.mark.parametrize(
    ("environ", "names", "reason"),
    [
        ({}, ("dnsmasq",), "default"),
        ({"NO_DHCP": ""}, ("dnsmasq",), "default"),
        ({"NO_DHCP": "false"}, ("dnsmasq",), "default"),
        ({"NO_DHCP": "true"}, ("nodhcp",), "NO_DHCP=true"),
        ({"NO_DHCP": "YES"}, ("nodhcp",), "NO_DHCP=YES"),
        ({"VMNET_IPAM": "nodhcp"}, ("nodhcp",), "VMNET_IPAM=nodhcp"),
        ({"VMNET_IPAM": "cloudinit"}, ("cloudinit",), "VMNET_IPAM=cloudinit"),
        (
            {"VMNET_IPAM": "dnsmasq, cloudinit"},
            ("dnsmasq", "cloudinit"),
            "VMNET_IPAM=dnsmasq, cloudinit",
        ),
        (
            {"VMNET_IPAM": "cloudinit,dnsmasq"},
            ("cloudinit", "dnsmasq"),
            "VMNET_IPAM=cloudinit,dnsmasq",
        ),
        ({"NO_DHCP": "1", "VMNET_IPAM": "nodhcp"}, ("nodhcp",), "VMNET_IPAM=nodhcp"),
        ({"NO_DHCP": "1", "VMNET_IPAM": "cloudinit"}, ("cloudinit",), "VMNET_IPAM=cloudinit"),
        (
            {"NO_DHCP": "1", "VMNET_IPAM": "cloudinit,nodhcp"},
            ("cloudinit", "nodhcp"),
            "VMNET_IPAM=cloudinit,nodhcp",
        ),
        ({"NO_DHCP": "off", "VMNET_IPAM": "dnsmasq"}, ("dnsmasq",), "VMNET_IPAM=dnsmasq"),
    ],
)
def test_ipam(environ: dict[str, str], names: tuple[str, ...], reason: str) -> None:
    assert chosen(**environ).ipam == Choice(names, reason)


@pytest.mark.parametrize(
    ("variable", "value", "stage"),
    [
        ("VMNET_CAPTURE", "cni", "capture"),
        ("VMNET_BRIDGE", "macvtap", "bridge"),
        ("VMNET_FORWARDER", "unbound", "forwarder"),
        ("VMNET_LAUNCH", "firecracker", "launch"),
    ],
)
def test_a_stage_by_name(variable: str, value: str, stage: str) -> None:
    assert getattr(chosen(**{variable: value}), stage) == Choice((value,), f"{variable}={value}")


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        (
            {"NO_DHCP": "true", "VMNET_IPAM": "dnsmasq"},
            "NO_DHCP=true and VMNET_IPAM=dnsmasq contradict each other: dnsmasq serves DHCP",
        ),
        (
            {"NO_DHCP": "1", "VMNET_IPAM": "cloudinit,dnsmasq"},
            "NO_DHCP=1 and VMNET_IPAM=cloudinit,dnsmasq contradict each other: dnsmasq serves DHCP",
        ),
        (
            {"VMNET_IPAM": "nodhcp,dnsmasq"},
            "VMNET_IPAM=nodhcp,dnsmasq contradict each other: dnsmasq serves DHCP",
        ),
    ],
)
def test_a_contradiction(environ: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        chosen(**environ)
    assert caught.value.message == message
    assert "VMNET_IPAM=nodhcp" in caught.value.hint


@pytest.mark.parametrize(
    ("environ", "message", "installed"),
    [
        (
            {"VMNET_IPAM": "dnsmask"},
            "VMNET_IPAM=dnsmask: there is no strategy dnsmask for that stage "
            "(did you mean 'dnsmasq'?)",
            "cloudinit, dnsmasq, nodhcp",
        ),
        (
            {"VMNET_IPAM": "cloudinit,netns"},
            "VMNET_IPAM=cloudinit,netns: there is no strategy netns for that stage",
            "cloudinit, dnsmasq, nodhcp",
        ),
        (
            {"VMNET_LAUNCH": "qmeu"},
            "VMNET_LAUNCH=qmeu: there is no strategy qmeu for that stage (did you mean 'qemu'?)",
            "firecracker, qemu",
        ),
        (
            {"VMNET_CAPTURE": "bridge"},
            "VMNET_CAPTURE=bridge: there is no strategy bridge for that stage",
            "cni, netns",
        ),
        (
            {"VMNET_BRIDGE": "xxx"},
            "VMNET_BRIDGE=xxx: there is no strategy xxx for that stage",
            "bridge, macvtap",
        ),
        (
            {"VMNET_FORWARDER": "bind"},
            "VMNET_FORWARDER=bind: there is no strategy bind for that stage",
            "dnsmasq, unbound",
        ),
    ],
)
def test_an_unknown_name_is_refused_with_what_there_is(
    environ: dict[str, str], message: str, installed: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        chosen(**environ)
    assert caught.value.message == message
    assert caught.value.hint == f"installed for it: {installed}; `vmnet hooks` tells more"


def test_nothing_installed_for_a_stage() -> None:
    with pytest.raises(SettingsError, match="no strategy qemu") as caught:
        select(testing.settings(), {**INSTALLED, "VMNET_LAUNCH": ()})
    assert caught.value.hint.startswith("installed for it: none;")


@pytest.mark.parametrize(
    ("environ", "names", "reason"),
    [
        ({"VMNET_IPAM": "cni"}, ("cni", "dnsmasq"), "VMNET_IPAM=cni, and dnsmasq to deliver it"),
        (
            {"VMNET_IPAM": "cni", "NO_DHCP": "true"},
            ("cni", "nodhcp"),
            "VMNET_IPAM=cni, and nodhcp to deliver it",
        ),
        ({"VMNET_IPAM": "cni,cloudinit"}, ("cni", "cloudinit"), "VMNET_IPAM=cni,cloudinit"),
        ({"VMNET_IPAM": "cni,dnsmasq"}, ("cni", "dnsmasq"), "VMNET_IPAM=cni,dnsmasq"),
    ],
)
def test_what_is_allocated_is_delivered_by_somebody(
    environ: dict[str, str], names: tuple[str, ...], reason: str
) -> None:
    installed = {**INSTALLED, "VMNET_IPAM": (*INSTALLED["VMNET_IPAM"], "cni")}
    selection = select(testing.settings(environ), installed, undelivering=("cni",))
    assert selection.ipam == Choice(names, reason)
