"""The exporter of metrics: its setting, its plan, its HTTP, and its hostile clients."""

from __future__ import annotations

import logging
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from tests.lab.wait import WAIT, until
from tests.unit.captured_log import CapturedLog
from vmnet import testing
from vmnet.errors import SettingsError
from vmnet.model.kept import Kept, StandIn
from vmnet.model.ports import PortRange
from vmnet.model.wiring import UserMode, Wiring
from vmnet.settings import endpoint, ports
from vmnet.settings.core import KEEP_PORTS
from vmnet.supervision import exporter, exporter_http
from vmnet.supervision import exporter_plan as planned

IDENTITY = testing.identity()
WIRING = testing.wiring(IDENTITY)
GET = b"GET /metrics HTTP/1.1\r\nHost: web\r\n\r\n"
TEXT = b"vmnet_up 1.0\n# EOF\n"


@pytest.mark.parametrize(
    ("text", "address", "port"),
    [
        ("9100", None, 9100),
        (" 127.0.0.1:9100", "127.0.0.1", 9100),
        ("[::1]:9100", "::1", 9100),
        ("172.17.0.2:65535", "172.17.0.2", 65535),
    ],
)
def test_a_port_with_and_without_an_address(text: str, address: str | None, port: int) -> None:
    found = endpoint.parse(text)
    assert (found.address, found.port) == (ip_address(address) if address else None, port)


@pytest.mark.parametrize(
    "text", ["0", "65536", "on", ":9100", "::1:9100", "[127.0.0.1]:9100", "0.0.0.0:9100", "a:9100"]
)
def test_other_values_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a port such as 9100"):
        endpoint.parse(text)


@pytest.mark.parametrize(
    ("metrics", "kept", "expected"),
    [
        ("9100", "", "9100/tcp"),
        ("9100", "161/udp,8006", "8006/tcp, 9100/tcp, 161/udp"),
        ("9100", "9000-9200", "9000-9200/tcp"),
        ("172.17.0.2:9100", "9100/udp", "9100/tcp, 9100/udp"),
        ("127.0.0.1:9100", "8006", "8006/tcp"),
    ],
)
def test_its_port_is_kept_unless_it_is_on_loopback(metrics: str, kept: str, expected: str) -> None:
    given = {"VMNET_METRICS": metrics, "VMNET_KEEP_PORTS": kept}
    settings = ports.keep_for_metrics(testing.settings(given))
    found: tuple[PortRange, ...] | None = settings[KEEP_PORTS]
    assert ", ".join(map(str, found or ())) == expected


def wiring(*stand_ins: StandIn, user_mode: bool = False) -> Wiring:
    """A wiring whose port keeps the port of the metrics."""
    (port,) = WIRING.ports
    kept = Kept((PortRange("tcp", 9100, 9100),), stand_ins)
    return Wiring((evolve(port, kept=kept, path=UserMode("passt") if user_mode else port.path),))


STAND_INS = (
    StandIn(ip_address("172.17.0.2"), ip_address("169.254.7.7")),
    StandIn(ip_address("fd00::2"), ip_address("fe80::7")),
)


@pytest.mark.parametrize(
    ("metrics", "where", "expected"),
    [
        ("9100", wiring(*STAND_INS), "169.254.7.7,fe80::7%br0"),
        ("172.17.0.2:9100", wiring(*STAND_INS), "169.254.7.7"),
        ("127.0.0.1:9100", WIRING, "127.0.0.1"),
        (
            "9100",
            wiring(user_mode=True),
            ",".join(str(own.ip) for own in IDENTITY.interfaces[0].addresses),
        ),
    ],
    ids=["bridge", "an address", "loopback", "passt"],
)
def test_it_listens_only_where_the_kept_port_leads(
    metrics: str, where: Wiring, expected: str
) -> None:
    daemon = planned.plan(testing.settings({"VMNET_METRICS": metrics}), IDENTITY, where)
    assert daemon is not None
    assert "9100" in daemon.argv
    assert daemon.argv[daemon.argv.index("9100") + 1] == expected


def test_without_the_setting_there_is_none() -> None:
    assert planned.plan(testing.settings({}), IDENTITY, WIRING) is None


@pytest.mark.parametrize(
    ("metrics", "busy", "reason"),
    [
        ("192.0.2.1:9100", (), "is not an address at which the container can"),
        ("9100", (PortRange("tcp", 9100, 9100),), "another program"),
    ],
)
def test_a_place_where_it_cannot_listen_is_refused_before_the_network_is_planned(
    metrics: str, busy: tuple[PortRange, ...], reason: str
) -> None:
    settings = testing.settings({"VMNET_METRICS": metrics})
    with pytest.raises(SettingsError, match=reason):
        planned.require(settings, evolve(IDENTITY, listening=busy))


def test_a_wiring_without_kept_ports_is_refused() -> None:
    settings = testing.settings({"VMNET_METRICS": "9100"})
    with pytest.raises(SettingsError, match="is not an address at which the container can"):
        planned.plan(settings, IDENTITY, WIRING)


def test_a_port_of_loopback_on_which_another_program_listens_is_refused() -> None:
    """The identity lists only programs that listen for other machines."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        endpoint = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(SettingsError, match="another program"):
            planned.require(testing.settings({"VMNET_METRICS": endpoint}), IDENTITY)


class Fixed(exporter_http.Source):
    """A source that always has the same text."""

    def __init__(self, text: bytes) -> None:
        self._text = text

    def read(self) -> bytes:
        return self._text


@pytest.mark.parametrize(
    ("request_", "text", "status"),
    [
        (GET, TEXT, b"200 OK"),
        (b"GET /metrics?name=vmnet_up HTTP/1.0\r\n\r\n", TEXT, b"200 OK"),
        (GET, b"", b"503 Service Unavailable"),
        (b"GET / HTTP/1.1\r\n\r\n", TEXT, b"404 Not Found"),
        (b"GET /metrics/../etc HTTP/1.1\r\n\r\n", TEXT, b"404 Not Found"),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 9\r\n\r\n", TEXT, b"501 "),
        (b"GET /metrics HTTP/9.9.9\r\n\r\n", TEXT, b"400 "),
        (b"\x16\x03\x01\r\n\r\n", TEXT, b"400 "),
        (b"GET /metrics HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", TEXT, b"431 "),
    ],
)
def test_the_answer_to_a_request(request_: bytes, text: bytes, status: bytes) -> None:
    found = exporter_http.answer(request_, Fixed(text))
    head, _, body = found.partition(b"\r\n\r\n")
    # A line without a version counts as HTTP/0.9, whose answers have no head.
    assert status in (head.splitlines()[0] if head.startswith(b"HTTP/") else status)
    assert (body == text) == (status == b"200 OK")
    assert b"Traceback" not in found
    assert b"Python" not in found


@given(st.binary(max_size=200), st.sampled_from([b"", b"GET /metrics ", GET[:-2], b"GET /"]))
def test_no_bytes_cause_anything_but_an_answer(tail: bytes, head: bytes) -> None:
    found = exporter_http.answer(head + tail + b"\r\n\r\n", Fixed(TEXT))
    assert b"Traceback" not in found


@contextmanager
def serving(monkeypatch: pytest.MonkeyPatch, seconds: float) -> Iterator[tuple[str, int]]:
    """Serve :data:`TEXT` on a port of loopback, with another limit for the time of a request."""
    monkeypatch.setattr(exporter_http, "REQUEST_SECONDS", seconds)
    collector, front = socket.socketpair()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)

    def collect() -> None:
        while collector.recv(1):
            collector.sendall(len(TEXT).to_bytes(4, "big") + TEXT)

    threads = [
        threading.Thread(target=exporter_http.serve, args=([listener], front)),
        threading.Thread(target=collect),
    ]
    with listener, front:
        for thread in threads:
            thread.start()
        try:
            yield listener.getsockname()
        finally:
            collector.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join(WAIT)
            collector.close()
    assert not any(thread.is_alive() for thread in threads), "it ends with the collector"


def require_service(place: tuple[str, int]) -> None:
    """Await an answer. On a busy machine, a client may be too slow for the limit of the test."""

    def is_answered() -> bool:
        try:
            with socket.create_connection(place, WAIT) as client:
                client.sendall(GET)
                return b"".join(iter(lambda: client.recv(1 << 16), b"")).endswith(TEXT)
        except OSError:
            return False

    until(is_answered, WAIT, "the metrics")


def test_a_client_gets_the_metrics_behind_as_many_silent_clients_as_there_may_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A further client closes the oldest of them."""
    with serving(monkeypatch, 10 * WAIT) as place:
        silent = [
            socket.create_connection(place, WAIT) for _ in range(2 * exporter_http.MAX_CONNECTIONS)
        ]
        require_service(place)
        for client in silent:
            client.close()


def test_a_client_that_sends_slowly_is_closed_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch, 0.3) as place:
        with socket.create_connection(place, WAIT) as slow:
            end = time.monotonic() + WAIT
            try:
                while time.monotonic() < end:
                    slow.sendall(b"A")  # never a whole line
                    time.sleep(0.05)
            except OSError:
                closed = True
            else:
                closed = False
        assert closed
        require_service(place)


def test_a_request_that_is_too_long_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(monkeypatch, WAIT) as place:
        with socket.create_connection(place, WAIT) as client:
            client.sendall(b"GET /metrics HTTP/1.1\r\nCookie: " + b"a" * 8000)
            try:
                client.sendall(b"a" * exporter_http.MAX_REQUEST_BYTES)
                received = client.recv(1)
            except (
                BrokenPipeError,
                ConnectionResetError,
            ):  # before it had read all
                received = b""
            assert received == b""
        require_service(place)


def collected(argv: tuple[str, ...], count: int = 1) -> list[bytes]:
    """Return the answers of the process that collects."""
    ours, theirs = socket.socketpair()
    log = CapturedLog("text")
    thread = threading.Thread(target=exporter.collect, args=(theirs, argv, log))
    thread.start()
    with theirs, ours:
        found = []
        for _ in range(count):
            ours.sendall(b"?")
            source: Any = exporter_http.Source(ours)
            size = int.from_bytes(source._receive(4), "big")
            found.append(source._receive(size))
        ours.shutdown(socket.SHUT_RDWR)
        thread.join(WAIT)
    assert not thread.is_alive()
    return found


def test_it_collects_what_a_program_prints() -> None:
    program = (sys.executable, "-c", "import sys; print('vmnet_up 1.0'); sys.stderr.write('no')")
    assert collected(program, 2) == [b"vmnet_up 1.0\n"] * 2


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ((sys.executable, "-c", "raise SystemExit(3)"), "it failed (status 3)"),
        (("/nonexistent",), "No such file"),
        ((sys.executable, "-c", "import time; time.sleep(600)"), "it takes longer than 0.5 s"),
        ((sys.executable, "-c", ""), "it printed nothing"),
    ],
)
def test_the_first_of_several_failures_is_logged(
    program: tuple[str, ...],
    reason: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if "sleep" in program[-1]:
        monkeypatch.setattr(exporter, "_COLLECT_SECONDS", 0.5)
    caplog.set_level(logging.ERROR)
    assert collected(program, 2) == [b"", b""]
    (message,) = caplog.messages
    assert message.startswith("can't read the VM's metrics: ")
    assert reason in message
