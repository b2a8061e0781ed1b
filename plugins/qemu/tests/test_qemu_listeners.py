"""Listeners of QEMU on the network: a warning, and a refusal of VNC without a password."""

from __future__ import annotations

import pytest
from vmnet_qemu import listeners
from vmnet_qemu.arguments import Options
from vmnet_qemu.rows import ROWS

from vmnet import testing
from vmnet.api import SettingsError


def check(*extra: str, vnc: str = "") -> None:
    listeners.check(Options(testing.settings({"VMNET_VNC": vnc}, *ROWS), extra=extra))


OPEN = [":0", "0.0.0.0:0", "[::]:1", "192.0.2.7:0", "0.0.0.0:0,password=off", ":0,share=ignore"]


@pytest.mark.parametrize("display", OPEN)
def test_an_open_display_is_refused(display: str) -> None:
    with pytest.raises(SettingsError, match="listens on the network without a password") as caught:
        check(vnc=display)
    assert caught.value.message.startswith(f"VMNET_VNC={display} ")
    assert "VMNET_VNC=unix:/vnc/vm.sock" in caught.value.hint
    for words in (("-vnc", display), ("-display", f"vnc={display}")):
        with pytest.raises(SettingsError, match="without a password"):
            check(*words)


@pytest.mark.parametrize("option", ["password=on", "password", "password-secret=s", "sasl=on"])
def test_a_display_with_a_password_causes_a_warning(
    option: str, caplog: pytest.LogCaptureFixture
) -> None:
    check(vnc=f"0.0.0.0:0,{option}")
    assert "published ports (`-p`) do not reach this listener" in caplog.text
    assert "unix:/vnc/vm.sock" in caplog.records[0].hint  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "display",
    [
        "unix:/vnc/vm.sock",
        "none",
        "127.0.0.1:0",
        "localhost:3",
        "[::1]:0",
        "192.0.2.9:0,reverse=on",
    ],
)
def test_a_display_that_the_network_cannot_reach(
    display: str, caplog: pytest.LogCaptureFixture
) -> None:
    check(vnc=display)
    assert not caplog.text


@pytest.mark.parametrize(
    "words",
    [
        ("-serial", "telnet:0.0.0.0:4444,server=on,wait=off"),
        ("-serial", "tcp::4444,server"),
        ("-monitor", "tcp:[::]:4444,server=on"),
        ("--qmp", "tcp:0.0.0.0:4444,server"),
        ("-serial", "mon:telnet::4444,server=on,wait=off"),
        ("-chardev", "socket,id=c,host=0.0.0.0,port=4444,server=on,wait=off"),
        ("-gdb", "tcp::1234"),
        ("-s",),
        ("-spice", "port=5930,disable-ticketing=on"),
    ],
)
def test_other_listeners_cause_a_warning(
    words: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    check("-device", "usb-tablet", *words)
    (record,) = caplog.records
    assert words[-1] in record.getMessage()


@pytest.mark.parametrize(
    "words",
    [
        ("-serial", "unix:/vnc/serial.sock,server=on,wait=off"),
        ("-serial", "telnet:127.0.0.1:4444,server=on"),
        ("-serial", "tcp:192.0.2.1:4444"),
        ("-chardev", "socket,id=c,path=/s,server=on"),
        ("-gdb", "unix:/s"),
        ("-append", "tcp:0.0.0.0:1,server"),
        ("-drive", "file=/s"),
    ],
)
def test_options_that_do_not_listen_on_the_network(
    words: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    check(*words)
    assert not caplog.text
