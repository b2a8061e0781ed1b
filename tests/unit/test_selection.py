"""Selection of strategies by the environment, and the reasons."""

from __future__ import annotations

import pytest
from attrs import evolve

from vmnet import pipeline, testing
from vmnet.errors import SettingsError
from vmnet.hooks import stages, unused
from vmnet.hooks.selection import Choice, Selection, select
from vmnet.model.wiring import UserMode

INSTALLED = {
    "VMNET_CAPTURE": ("cni", "netns"),
    "VMNET_IPAM": ("cloudinit", "dnsmasq", "nodhcp"),
    "VMNET_BRIDGE": ("auto", "bridge", "macvtap"),
    "VMNET_FORWARDER": ("dnsmasq", "unbound"),
    "VMNET_DEVICES": ("swtpm", "usb"),
    "VMNET_LAUNCH": ("firecracker", "qemu"),
}


def chosen(**environ: str) -> Selection:
    return select(testing.settings(environ), INSTALLED)


def test_the_default_of_every_stage() -> None:
    assert chosen() == Selection(
        {
            "VMNET_CAPTURE": Choice(("netns",), "default"),
            "VMNET_IPAM": Choice(("dnsmasq",), "default"),
            "VMNET_BRIDGE": Choice(("auto",), "default"),
            "VMNET_FORWARDER": Choice(("dnsmasq",), "default"),
            "VMNET_DEVICES": Choice(("dnsmasq",), "default"),
            "VMNET_LAUNCH": Choice(("qemu",), "default"),
        }
    )


# All combinations of the two variables of the IPAM stage. `cni` allocates but does not deliver.
# `vmnet hooks` prints the reason; "refused" means an error that names both variables.
MATRIX = """
NO_DHCP   VMNET_IPAM            chosen               because of
-         -                     dnsmasq              default
empty     empty                 dnsmasq              default
false     -                     dnsmasq              default
off       dnsmasq               dnsmasq              VMNET_IPAM=dnsmasq
true      -                     nodhcp               NO_DHCP=true
YES       -                     nodhcp               NO_DHCP=YES
true      empty                 nodhcp               NO_DHCP=true
-         nodhcp                nodhcp               VMNET_IPAM=nodhcp
1         nodhcp                nodhcp               VMNET_IPAM=nodhcp
-         cloudinit             cloudinit            VMNET_IPAM=cloudinit
1         cloudinit             cloudinit            VMNET_IPAM=cloudinit
1         cloudinit,nodhcp      cloudinit,nodhcp     VMNET_IPAM=cloudinit,nodhcp
-         cloudinit,nodhcp      cloudinit,nodhcp     VMNET_IPAM=cloudinit,nodhcp
-         dnsmasq,cloudinit     dnsmasq,cloudinit    VMNET_IPAM=dnsmasq,cloudinit
-         cloudinit,dnsmasq     cloudinit,dnsmasq    VMNET_IPAM=cloudinit,dnsmasq
-         cni                   cni,dnsmasq          VMNET_IPAM=cni, and dnsmasq to deliver it
false     cni                   cni,dnsmasq          VMNET_IPAM=cni, and dnsmasq to deliver it
true      cni                   cni,nodhcp           VMNET_IPAM=cni, and nodhcp to deliver it
-         cni,dnsmasq           cni,dnsmasq          VMNET_IPAM=cni,dnsmasq
-         cni,cloudinit         cni,cloudinit        VMNET_IPAM=cni,cloudinit
true      cni,cloudinit         cni,cloudinit        VMNET_IPAM=cni,cloudinit
-         cni,nodhcp            cni,nodhcp           VMNET_IPAM=cni,nodhcp
true      dnsmasq               refused              NO_DHCP=true and VMNET_IPAM=dnsmasq
1         cloudinit,dnsmasq     refused              NO_DHCP=1 and VMNET_IPAM=cloudinit,dnsmasq
true      cni,dnsmasq           refused              NO_DHCP=true and VMNET_IPAM=cni,dnsmasq
-         nodhcp,dnsmasq        refused              VMNET_IPAM=nodhcp,dnsmasq
-         dnsmasq,nodhcp        refused              VMNET_IPAM=dnsmasq,nodhcp
-         cni,nodhcp,dnsmasq    refused              VMNET_IPAM=cni,nodhcp,dnsmasq
on        nodhcp,dnsmasq        refused              NO_DHCP=on and VMNET_IPAM=nodhcp,dnsmasq
"""
ROWS = [line.split(maxsplit=3) for line in MATRIX.strip().splitlines()[1:]]


@pytest.mark.parametrize(("no_dhcp", "ipam", "names", "reason"), ROWS)
def test_ipam(no_dhcp: str, ipam: str, names: str, reason: str) -> None:
    given = {"NO_DHCP": no_dhcp, "VMNET_IPAM": ipam}
    environ = {
        name: "" if value == "empty" else value for name, value in given.items() if value != "-"
    }
    installed = {**INSTALLED, "VMNET_IPAM": (*INSTALLED["VMNET_IPAM"], "cni")}

    def choose() -> Choice:
        selection = select(testing.settings(environ), installed, allocate_only=("cni",))
        return selection[stages.IPAM]

    if names == "refused":
        with pytest.raises(SettingsError) as caught:
            choose()
        verb = "contradict each other" if " and " in reason else "contradicts itself"
        assert caught.value.message == f"{reason} {verb}: dnsmasq serves DHCP"
        assert "VMNET_IPAM=nodhcp" in caught.value.hint
    else:
        assert choose() == Choice(tuple(names.split(",")), reason)


@pytest.mark.parametrize(
    ("variable", "value", "stage"),
    [
        ("VMNET_CAPTURE", "cni", stages.CAPTURE),
        ("VMNET_BRIDGE", "macvtap", stages.BRIDGE),
        ("VMNET_FORWARDER", "unbound", stages.FORWARDER),
        ("VMNET_LAUNCH", "firecracker", stages.LAUNCH),
    ],
)
def test_a_stage_by_name(variable: str, value: str, stage: stages.Stage) -> None:
    assert chosen(**{variable: value})[stage] == Choice((value,), f"{variable}={value}")


def test_plugins_for_devices_follow_the_ipam_strategies() -> None:
    choice = chosen(VMNET_IPAM="cloudinit,nodhcp", VMNET_DEVICES="usb,swtpm")[stages.DEVICES]
    reason = "VMNET_IPAM=cloudinit,nodhcp, VMNET_DEVICES=usb,swtpm"
    assert choice == Choice(("cloudinit", "nodhcp", "usb", "swtpm"), reason)


@pytest.mark.parametrize(
    ("environ", "message", "installed"),
    [
        (
            {"VMNET_IPAM": "dnsmask"},
            "VMNET_IPAM=dnsmask: there is no strategy dnsmask for this stage "
            "(did you mean 'dnsmasq'?)",
            "cloudinit, dnsmasq, nodhcp",
        ),
        (
            {"VMNET_IPAM": "cloudinit,netns"},
            "VMNET_IPAM=cloudinit,netns: there is no strategy netns for this stage",
            "cloudinit, dnsmasq, nodhcp",
        ),
        (
            {"VMNET_LAUNCH": "qmeu"},
            "VMNET_LAUNCH=qmeu: there is no strategy qmeu for this stage (did you mean 'qemu'?)",
            "firecracker, qemu",
        ),
        (
            {"VMNET_CAPTURE": "bridge"},
            "VMNET_CAPTURE=bridge: there is no strategy bridge for this stage",
            "cni, netns",
        ),
        (
            {"VMNET_BRIDGE": "xxx"},
            "VMNET_BRIDGE=xxx: there is no strategy xxx for this stage",
            "auto, bridge, macvtap",
        ),
        (
            {"VMNET_FORWARDER": "bind"},
            "VMNET_FORWARDER=bind: there is no strategy bind for this stage",
            "dnsmasq, unbound",
        ),
        (
            {"VMNET_DEVICES": "cloudinit"},
            "VMNET_DEVICES=cloudinit: there is no strategy cloudinit for this stage",
            "swtpm, usb",
        ),
    ],
)
def test_an_unknown_name_is_refused_with_the_installed_strategies(
    environ: dict[str, str], message: str, installed: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        chosen(**environ)
    assert caught.value.message == message
    assert caught.value.hint == f"installed: {installed}; see `vmnet hooks`"


def test_nothing_installed_for_a_stage() -> None:
    with pytest.raises(SettingsError, match="no strategy qemu") as caught:
        select(testing.settings(), {**INSTALLED, "VMNET_LAUNCH": ()})
    assert caught.value.hint.startswith("installed: none;")


@pytest.mark.parametrize(
    ("environ", "line"),
    [
        (
            {"VMNET_USER_DATA": "/nonexistent"},
            "VMNET_USER_DATA is set for cloudinit, which is not selected "
            "(add cloudinit to VMNET_IPAM or unset it)",
        ),
        ({"VMNET_USER_DATA": "/nonexistent", "VMNET_IPAM": "cloudinit"}, None),
        ({"VMNET_FILTER": "off"}, None),
        ({"VMNET_USER_DATA": ""}, None),
        (
            {"VMNET_INTERFACES_TIMEOUT": "20"},
            "VMNET_INTERFACES_TIMEOUT has no effect without VMNET_INTERFACES "
            "(set it, or unset VMNET_INTERFACES_TIMEOUT)",
        ),
        ({"VMNET_INTERFACES_TIMEOUT": "20", "VMNET_INTERFACES": "eth0"}, None),
        (
            {"VMNET_DISK_MODE": "ephemeral"},
            "VMNET_DISK_MODE has no effect without VMNET_DISK (set it, or unset VMNET_DISK_MODE)",
        ),
        ({"VMNET_DISK_FORMAT": "raw", "VMNET_DISK": "/disk"}, None),
        (
            {"VMNET_STOP_TIMEOUT": "60", "VMNET_GUARD": "off"},
            "VMNET_STOP_TIMEOUT has no effect with VMNET_GUARD=off (unset one of them)",
        ),
        ({"VMNET_STOP_TIMEOUT": "60"}, None),
        (
            {"VMNET_DEMO": "/demo", "VMNET_DISK": "/disk"},
            "VMNET_DEMO has no effect with VMNET_DISK=/disk (unset one of them)",
        ),
        ({"VMNET_DEMO": "/demo"}, None),
        (
            {"VMNET_DEMO": "/demo", "VMNET_DISK2": "/disk2"},
            "VMNET_DEMO has no effect with VMNET_DISK2=/disk2 (unset one of them)",
        ),
        (
            {"VMNET_DEMO": "/demo", "VMNET_BOOT": "network"},
            "VMNET_DEMO has no effect with VMNET_BOOT=network (unset one of them)",
        ),
        ({"VMNET_DEMO": "/demo", "VMNET_BOOT": "disk"}, None),
        (
            {"VMNET_DISK_BACKING": "/images"},
            "VMNET_DISK_BACKING has no effect without VMNET_DISK "
            "(set it, or unset VMNET_DISK_BACKING)",
        ),
        ({"VMNET_DISK_BACKING": "/images", "VMNET_DISK2": "/disk2"}, None),
        (
            {"VMNET_QUEUES": "2", "VMNET_NIC_MODEL": "e1000,eth1=rtl8139"},
            "VMNET_QUEUES has no effect with VMNET_NIC_MODEL=e1000,eth1=rtl8139 "
            "(unset one of them)",
        ),
        (
            {"VMNET_VHOST": "on", "VMNET_NIC_MODEL": "vmxnet3"},
            "VMNET_VHOST has no effect with VMNET_NIC_MODEL=vmxnet3 (unset one of them)",
        ),
        ({"VMNET_QUEUES": "2", "VMNET_NIC_MODEL": "e1000,eth1=virtio"}, None),
        ({"VMNET_QUEUES": "2", "VMNET_NIC_MODEL": "virtio,eth1=e1000"}, None),
        (
            {"VMNET_LOST_ROUTES": "refuse", "VMNET_HOST_NETWORK": "take"},
            "VMNET_LOST_ROUTES has no effect with VMNET_HOST_NETWORK=take (unset one of them)",
        ),
        ({"VMNET_LOST_ROUTES": "accept", "VMNET_HOST_NETWORK": "refuse"}, None),
        (
            {"VMNET_BOOT_URL": "tftp://192.0.2.1/x", "NO_DHCP": "true"},
            "VMNET_BOOT_URL has no effect with NO_DHCP=true (unset one of them)",
        ),
        (
            {"VMNET_INSTALL_AGENT": "on", "VMNET_AGENT": "off", "VMNET_IPAM": "cloudinit"},
            "VMNET_INSTALL_AGENT has no effect with VMNET_AGENT=off (unset one of them)",
        ),
        ({"VMNET_INSTALL_AGENT": "on", "VMNET_IPAM": "cloudinit"}, None),
        # The seed has them, as well as without NO_DHCP. nodhcp alone names them itself.
        ({"VMNET_NTP": "192.0.2.1", "NO_DHCP": "true", "VMNET_IPAM": "cloudinit"}, None),
    ],
)
def test_a_setting_without_effect_is_named(environ: dict[str, str], line: str | None) -> None:
    assert pipeline.select(environ).unused_settings() == ((line,) if line else ())


@pytest.mark.parametrize(
    ("strategy", "environ", "line"),
    [
        (
            "passt",
            {"VMNET_FILTER": "off"},
            "VMNET_FILTER has no effect, because passt connects the guest "
            "(set VMNET_BRIDGE=auto, or unset it)",
        ),
        (
            "passt",
            {"VMNET_RESTORE_NETWORK": "on"},
            "VMNET_RESTORE_NETWORK has no effect, because passt leaves the container's network as "
            "it is (unset it)",
        ),
        (
            "passt",
            {"VMNET_HOTPLUG": "2"},
            "VMNET_HOTPLUG has no effect, because passt can't add a NIC to a running VM (unset it)",
        ),
        ("passt", {"VMNET_KEEP_PORTS": "80", "VMNET_LOCALHOST": "off"}, None),
        ("passt", {}, None),
        ("bridge", {"VMNET_FILTER": "off", "VMNET_LOST_ROUTES": "accept"}, None),
        ("redirect", {"VMNET_BRIDGE_ADDRESS": "spare", "VMNET_RESTORE_NETWORK": "on"}, None),
        ("auto", {"VMNET_LOCALHOST": "on", "VMNET_HOTPLUG": "2"}, None),
    ],
)
def test_a_setting_that_the_strategy_of_the_wiring_ignores_is_named(
    strategy: str, environ: dict[str, str], line: str | None
) -> None:
    """Which strategy it is, planning decides: ``VMNET_BRIDGE`` can be a list."""
    wiring = evolve(testing.wiring(testing.identity()), strategy=strategy)
    if strategy == "passt":
        wiring = evolve(wiring, ports=(evolve(wiring.ports[0], path=UserMode("passt")),))
    hooks = pipeline.select({"VMNET_BRIDGE": "auto,passt", **environ})
    assert hooks.unused_with(wiring) == ((line,) if line else ())


def test_a_strategy_of_another_package_names_the_settings_that_it_carries_out() -> None:
    settings = testing.settings({"VMNET_FILTER": "off", "VMNET_KEEP_PORTS": "80"})
    wiring = evolve(testing.wiring(testing.identity()), strategy="macvtap")
    observers = {"VMNET_FILTER": ("macvtap",)}
    (line,) = unused.with_wiring(
        settings, wiring, lambda row: observers.get(row.name, ()), fixed=""
    )
    assert line == "VMNET_KEEP_PORTS has no effect, because macvtap connects the guest (unset it)"
