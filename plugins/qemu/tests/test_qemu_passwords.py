"""Warnings of passwords in QEMU's command line."""

from __future__ import annotations

import pytest
from vmnet_qemu import passwords
from vmnet_qemu.arguments import Options
from vmnet_qemu.rows import ROWS

from vmnet import testing


def check(*words: str) -> None:
    passwords.check(Options(testing.settings({}, *ROWS), extra=words))


@pytest.mark.parametrize(
    "words",
    [
        ("-spice", "port=5900,password=hunter2"),
        ("-object", "secret,id=vnc,data=hunter2"),
        ("--object", "qom-type=secret,id=vnc,data=hunter2"),
        ("-drive", "driver=ssh,host=192.0.2.1,password=hunter2"),
    ],
)
def test_a_password_in_an_argument_is_named_and_not_quoted(
    words: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    check("-device", "usb-tablet", *words)
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{words[0]} contains a password: ")
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize(
    "words",
    [
        ("-object", "secret,id=vnc,file=/run/secrets/vnc"),
        ("-object", "secret,id=vnc,keyid=key,data=ZW5jcnlwdGVk,iv=aXY="),
        ("-vnc", ":0,password=on"),
        ("-vnc", ":0,password"),
        ("-vnc", ":0,password-secret=vnc"),
        ("-append", "console=ttyS0"),
        ("-S",),
    ],
)
def test_arguments_without_a_password(
    words: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    check(*words)
    assert not caplog.text
