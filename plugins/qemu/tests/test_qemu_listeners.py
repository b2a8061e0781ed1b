"""Listeners of QEMU on the network: a warning, and a refusal of VNC without a password."""

from __future__ import annotations

import pytest
from vmnet_qemu import listeners
from vmnet_qemu.arguments import Options
from vmnet_qemu.rows import ROWS

from vmnet import testing
from vmnet.api import SettingsError


def check(*extra: str, vnc: str = "", kept: str = "") -> None:
    given = {"VMNET_VNC": vnc, "VMNET_KEEP_PORTS": kept}
    listeners.check(Options(testing.settings(given, *ROWS), extra=extra))


OPEN = [":0", "0.0.0.0:0", "[::]:1", "192.0.2.7:0", "0.0.0.0:0,password=off", ":0,share=ignore"]


@pytest.mark.parametrize("display", OPEN)
def test_an_open_display_is_refused(display: str) -> None:
    with pytest.raises(SettingsError, match="listens on the network without a password") as caught:
        check(vnc=display)
    assert caught.value.message.startswith(f"VMNET_VNC={display.split(',')[0]} listens ")
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


KEPT = {
    "5901": ("-vnc", ":1,password-secret=s"),
    "1234": ("-s",),
    "4444": ("-serial", "telnet:0.0.0.0:4444,server=on"),
}


@pytest.mark.parametrize("port", KEPT)
def test_a_listener_on_a_kept_port_causes_no_warning(
    port: str, caplog: pytest.LogCaptureFixture
) -> None:
    check(*KEPT[port], kept=port)
    assert not caplog.text
    check(*KEPT[port], kept=f"{port}/udp")
    assert f"set VMNET_KEEP_PORTS={port}; or " in caplog.records[0].hint  # type: ignore[attr-defined]


TLS_WITHOUT_CLIENTS = [
    "tls-creds-anon,id=tls0,endpoint=server",
    "tls-creds-x509,id=tls0,dir=/tls,endpoint=server,verify-peer=off",
    "tls-creds-x509,id=another,dir=/tls,endpoint=server",
    '{"qom-type": "tls-creds-anon", "id": "tls0", "endpoint": "server"}',
    '{"qom-type": "tls-creds-x509", "id": "tls0", "dir": "/tls", "verify-peer": false}',
]
TLS_WITH_CLIENTS = [
    "tls-creds-x509,id=tls0,dir=/tls,endpoint=server",
    "tls-creds-x509,id=tls0,dir=/tls,endpoint=server,verify-peer=on",
    "tls-creds-psk,id=tls0,dir=/tls,endpoint=server",
    "qom-type=tls-creds-psk,id=tls0,dir=/tls,endpoint=server",
    '{"qom-type": "tls-creds-x509", "id": "tls0", "dir": "/tls", "endpoint": "server"}',
]


@pytest.mark.parametrize("credentials", TLS_WITHOUT_CLIENTS)
def test_encryption_alone_does_not_protect_a_display(credentials: str) -> None:
    with pytest.raises(SettingsError, match=r"^-vnc :0 listens on the network without a password"):
        check("-object", credentials, "-vnc", ":0,tls-creds=tls0")


@pytest.mark.parametrize("credentials", TLS_WITH_CLIENTS)
def test_a_display_for_clients_with_certificates_or_keys(
    credentials: str, caplog: pytest.LogCaptureFixture
) -> None:
    check("-object", credentials, vnc=":0,tls-creds=tls0")
    (record,) = caplog.records
    assert record.getMessage().startswith("VMNET_VNC=:0: published ports")


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
    ("words", "shown"),
    [
        (
            ("-serial", "telnet:0.0.0.0:4444,server=on,wait=off"),
            "-serial telnet:0.0.0.0:4444",
        ),
        (("-serial", "tcp::4444,server"), "-serial tcp::4444"),
        (("-monitor", "tcp:[::]:4444,server=on"), "-monitor tcp:[::]:4444"),
        (("--qmp", "tcp:0.0.0.0:4444,server"), "-qmp tcp:0.0.0.0:4444"),
        (("-serial", "mon:telnet::4444,server=on,wait=off"), "-serial mon:telnet::4444"),
        (
            ("-chardev", "socket,id=c,host=0.0.0.0,port=4444,server=on,wait=off"),
            "-chardev 0.0.0.0:4444",
        ),
        (("-serial", "udp:192.0.2.1:4444@:4445"), "-serial udp:192.0.2.1:4444@:4445"),
        (("-chardev", "udp,id=c,port=4444,localport=4445"), "-chardev :4445"),
        (("-gdb", "tcp::1234"), "-gdb tcp::1234"),
        (("-s",), "-s"),
        (("-spice", "port=5930,disable-ticketing=on"), "-spice :5930"),
        (("-spice", "addr=0.0.0.0,tls-port=5931"), "-spice 0.0.0.0:5931"),
        (("-incoming", "tcp:0:4444"), "-incoming tcp:0:4444"),
        (("-netdev", "socket,id=n,listen=:4444"), "-netdev :4444"),
        (("-nic", "socket,listen=0.0.0.0:4444,model=e1000"), "-nic 0.0.0.0:4444"),
        (("-netdev", "socket,id=n,udp=192.0.2.1:1,localaddr=0.0.0.0:2"), "-netdev 0.0.0.0:2"),
        (
            ("-netdev", "stream,id=n,server=on,addr.type=inet,addr.host=::,addr.port=4444"),
            "-netdev :::4444",
        ),
        (
            ("-netdev", "dgram,id=n,local.type=inet,local.host=0.0.0.0,local.port=4444"),
            "-netdev 0.0.0.0:4444",
        ),
        (
            ("-netdev", "id=n,type=stream,server=on,addr.type=inet,addr.host=::,addr.port=4444"),
            "-netdev :::4444",
        ),
        (
            (
                "-netdev",
                '{"type": "stream", "id": "n", "server": true, '
                '"addr": {"type": "inet", "host": "0.0.0.0", "port": "4444"}}',
            ),
            "-netdev 0.0.0.0:4444",
        ),
        (
            (
                "-netdev",
                '{"type": "dgram", "id": "n", '
                '"remote": {"type": "inet", "host": "192.0.2.1", "port": "1"}, '
                '"local": {"type": "inet", "host": "0.0.0.0", "port": "4444"}}',
            ),
            "-netdev 0.0.0.0:4444",
        ),
        (
            ("-netdev", '{"type": "socket", "id": "n", "listen": ":4444"}'),
            "-netdev :4444",
        ),
        (
            (
                "-chardev",
                '{"id": "c", "backend": {"type": "socket", "data": {"addr": '
                '{"type": "inet", "data": {"host": "::", "port": "4444"}}, "wait": false}}}',
            ),
            "-chardev :::4444",
        ),
        (
            (
                "-incoming",
                '{"channel-type": "main", "addr": '
                '{"transport": "socket", "type": "inet", "host": "0.0.0.0", "port": "4444"}}',
            ),
            "-incoming 0.0.0.0:4444",
        ),
        (
            (
                "-incoming",
                "channel-type=main,addr.transport=socket,addr.type=inet,addr.host=,addr.port=4444",
            ),
            "-incoming :4444",
        ),
    ],
)
def test_other_listeners_cause_a_warning(
    words: tuple[str, ...], shown: str, caplog: pytest.LogCaptureFixture
) -> None:
    check("-device", "usb-tablet", *words)
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{shown}: published ports (`-p`) do not reach this ")
    assert "everyone on the network reaches it there" in record.getMessage()


@pytest.mark.parametrize(
    "words",
    [
        ("-spice", "port=5900,password=hunter2"),
        ("-vnc", ":0,password=on,password-secret=hunter2"),
        ("-incoming", "tcp:0:4444,password=hunter2"),
        ("-netdev", "socket,id=hunter2,listen=:4444"),
    ],
)
def test_a_warning_quotes_no_password(
    words: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    check(*words)
    assert "published ports" in caplog.text
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize(
    "words",
    [
        ("-serial", "unix:/vnc/serial.sock,server=on,wait=off"),
        ("-serial", "telnet:127.0.0.1:4444,server=on"),
        ("-serial", "tcp:192.0.2.1:4444"),
        ("-chardev", "socket,id=c,path=/s,server=on"),
        ("-gdb", "unix:/s"),
        ("-incoming", "defer"),
        ("-incoming", "tcp:127.0.0.1:4444"),
        ("-netdev", "socket,id=n,connect=192.0.2.1:4444"),
        ("-netdev", "socket,id=n,listen=127.0.0.1:4444"),
        ("-netdev", "stream,id=n,addr.type=inet,addr.host=192.0.2.1,addr.port=4444"),
        ("-netdev", "stream,id=n,server=on,addr.type=unix,addr.path=/s"),
        ("-netdev", "user,id=n"),
        (
            "-netdev",
            '{"type": "stream", "id": "n", '
            '"addr": {"type": "inet", "host": "192.0.2.1", "port": "4444"}}',
        ),
        (
            "-chardev",
            '{"id": "c", "backend": {"type": "socket", "data": {"server": false, "addr": '
            '{"type": "inet", "data": {"host": "192.0.2.1", "port": "4444"}}}}}',
        ),
        ("-device", '{"driver": "pcie-root-port", "id": "p", "port": 4}'),
        ("-object", '{"qom-type": "rng-random", "id": "r"}'),
        ("-blockdev", '{"driver": "nbd", "server": {"type": "inet", "host": "h", "port": "1"}}'),
        ("-netdev", "{malformed"),
        ("-serial", "udp:192.0.2.1:4444"),
        ("-append", "tcp:0.0.0.0:1,server"),
        ("-drive", "file=/s"),
    ],
)
def test_options_that_do_not_listen_on_the_network(
    words: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    check(*words)
    assert not caplog.text
