"""Services that refuse, hang, drip bytes or send garbage, over real sockets."""

from __future__ import annotations

import datetime
import json
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from email.utils import format_datetime
from pathlib import Path

import pytest
import vmnet_ipam_http as http
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from vmnet_ipam_http import access, exchange, failures, protocol

from tests.lab.ipam.http import (
    Certificates,
    Misbehaving,
    Step,
    measured,
    misbehaving,
    response,
    settings,
)
from vmnet import testing
from vmnet.api import AllocationError, Identity

GOOD = response(200, '{"hostname": "db"}')
BUSY = response(503, '{"title": "busy"}')


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between attempts, recorded instead of slept."""
    pauses: list[float] = []
    monkeypatch.setattr("vmnet_ipam_http.exchange.time.sleep", pauses.append)
    return pauses


def allocate(url: str, run_dir: Path, **environ: str) -> Identity:
    return http.vmnet_ipam_allocate(settings(run_dir, URL=url, **environ), testing.identity())


def refused(url: str, run_dir: Path, **environ: str) -> AllocationError:
    with pytest.raises(AllocationError) as caught:
        allocate(url, run_dir, **environ)
    error = caught.value
    assert len(error.message.splitlines()) == len(error.hint.splitlines()) == 1
    return error


def hang_up(connection: socket.socket) -> None:
    """Close without an answer."""


@pytest.mark.parametrize(
    "step",
    [
        BUSY,
        response(429),
        response(502),
        response(504),
        hang_up,
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
    ],
    ids=["503", "429", "502", "504", "hangs up", "no HTTP", "cut off"],
)
def test_a_retry_sends_the_same_request(step: Step, tmp_path: Path, pauses: list[float]) -> None:
    with misbehaving(step, step, GOOD) as server:
        assert allocate(server.url, tmp_path).hostname == "db"
    assert len(server.requests) == 3
    assert len(set(server.requests)) == 1
    first, second = pauses
    assert 0.25 <= first <= 0.75
    assert 0.5 <= second <= 1.5


def test_retries_are_limited(tmp_path: Path, pauses: list[float]) -> None:
    with misbehaving(BUSY) as server:
        error = refused(server.url, tmp_path, RETRIES="3")
    assert len(server.requests) == 4
    assert error.message.endswith("the service answers 503 busy, at attempt 4")
    assert "VMNET_HTTP_RETRIES" in error.hint
    assert max(pauses) <= 12


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 422, 500, 501, 301, 307])
def test_a_refusal_is_final(status: int, tmp_path: Path) -> None:
    with misbehaving(response(status, '{"title": "no", "detail": "never"}')) as server:
        error = refused(server.url, tmp_path)
    assert len(server.requests) == 1
    assert f"answers {status} no: never to PUT" in error.message


def test_a_service_that_does_not_listen(tmp_path: Path, pauses: list[float]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    error = refused(f"http://127.0.0.1:{port}", tmp_path, RETRIES="2")
    assert "the connection fails: Connection refused, at attempt 3" in error.message
    assert len(pauses) == 2


def test_a_name_that_does_not_resolve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the machine's nameservers, which may answer late, or not at all."""

    def unknown(*_: object, **__: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    error = refused("http://ipam.invalid", tmp_path, RETRIES="0")
    assert "the name of the service can't be resolved" in error.message


@pytest.mark.parametrize("fault", ["hang", "drip"])
def test_time_is_limited_whatever_the_service_does(fault: str, tmp_path: Path) -> None:
    with misbehaving(hang_up) as server:
        server.steps = [getattr(server, fault)]
        error = refused(server.url, tmp_path, TIMEOUT="1", RETRIES="0")
    assert "answer" in error.message


def test_the_time_of_a_slow_resolver_is_limited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resolver tries each of its servers for seconds, and has no other limit."""
    getaddrinfo = socket.getaddrinfo

    def slow(*args: object, **kwargs: object) -> object:
        time.sleep(4)
        return getaddrinfo(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    with misbehaving(GOOD) as server:
        error = refused(server.url, tmp_path, TIMEOUT="1")
        assert not server.requests
    assert "no answer, and VMNET_HTTP_TIMEOUT=1 allows no further attempt" in error.message


def test_retry_after_is_honoured(tmp_path: Path, pauses: list[float]) -> None:
    soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=90)
    date = response(503, Retry_After=format_datetime(soon, usegmt=True))
    steps = (response(503, Retry_After="7"), date, response(503, Retry_After="soon"), GOOD)
    with misbehaving(*steps) as server:
        assert allocate(server.url, tmp_path, TIMEOUT="600").hostname == "db"
    first, second, third = pauses
    assert first == 7
    assert 7 < second <= 90
    assert third <= 3


def test_a_retry_after_beyond_the_timeout_fails_at_once(tmp_path: Path) -> None:
    with misbehaving(response(503, Retry_After="3600")) as server:
        took = measured(lambda: refused(server.url, tmp_path, TIMEOUT="60"))
    assert len(server.requests) == 1
    assert took < 60


def test_redirects_are_not_followed(tmp_path: Path) -> None:
    with misbehaving(GOOD) as other:
        with misbehaving(response(307, Location=f"{other.url}/\x1b[31mred")) as server:
            error = refused(server.url, tmp_path)
        assert not other.requests
    assert f"the redirect points to {other.url}/" in error.hint
    assert "\x1b" not in error.hint


def test_the_service_s_text_becomes_a_harmless_line(tmp_path: Path) -> None:
    problem = {"title": "bad\nvmnet: error: forged", "detail": "\x1b[2J\u202e" + "x" * 5000}
    with misbehaving(response(400, json.dumps(problem))) as server:
        error = refused(server.url, tmp_path)
    assert "bad vmnet: error: forged: ?[2J?xxx" in error.message
    assert error.message.isprintable()
    assert len(error.message) < 600


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("[]", "[] is not an object @ $"),
        ("<html>hello</html>", "not JSON"),
        ("", "not JSON"),
        ("[" * 100_000, "is nested too deeply"),
        ('{"hostname": "a", "hostname": "b"}', "two members of the same name"),
        ("{}" + " " * protocol.MAX_BYTES, "more than 1048576 bytes"),
    ],
)
def test_garbage(body: str, reason: str, tmp_path: Path) -> None:
    with misbehaving(response(200, body)) as server:
        error = refused(server.url, tmp_path)
    assert reason in error.message
    assert "openapi.yaml" in error.hint


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_proxies_in_the_environment_are_ignored(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with misbehaving(GOOD) as server, misbehaving(GOOD) as proxy:
        monkeypatch.setenv(name, proxy.url)
        allocate(server.url, tmp_path)
    assert (len(server.requests), len(proxy.requests)) == (1, 0)


def test_the_request_is_as_documented(tmp_path: Path) -> None:
    with misbehaving(GOOD) as server:
        allocate(f"{server.url}/some/where/", tmp_path)
    head, _, body = server.requests[0].partition("\r\n\r\n")
    line, *headers = head.split("\r\n")
    method, path, version = line.split()
    assert (method, version) == ("PUT", "HTTP/1.1")
    assert path.startswith("/some/where/v1/allocations/")
    assert "Content-Type: application/json" in headers
    assert not [header for header in headers if header.lower().startswith("authorization")]
    assert json.loads(body) == {
        "hostname": "web",
        "domain": "",
        "interfaces": [
            {
                "name": "eth0",
                "mac": "02:42:ac:11:00:02",
                "mtu": 1500,
                "addresses": ["172.17.0.2/16"],
            }
        ],
    }


@pytest.fixture
def impostor(tmp_path: Path) -> Iterator[Misbehaving]:
    other = tmp_path / "other"
    other.mkdir()
    with misbehaving(GOOD, tls=Certificates.made(other).serving()) as server:
        yield server


def test_a_certificate_of_another_ca_is_refused_at_once(
    impostor: Misbehaving, tmp_path: Path
) -> None:
    own = Certificates.made(tmp_path)
    error = refused(impostor.url, tmp_path, CA=str(own.ca))
    assert "the certificate of the service is invalid: " in error.message
    assert "VMNET_HTTP_CA" in error.hint
    assert not impostor.requests
    # Without VMNET_HTTP_CA, only the system's CAs are trusted.
    error = refused(impostor.url, tmp_path)
    assert "the certificate of the service is invalid: " in error.message


@pytest.mark.parametrize(
    ("subject", "expired", "reason"),
    [("other.test", False, "mismatch"), ("127.0.0.1", True, "expired")],
)
def test_an_invalid_certificate_is_refused(
    subject: str, expired: bool, reason: str, tmp_path: Path
) -> None:
    made = Certificates.made(tmp_path)
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    issued = made.authority.issue_cert(subject, not_after=past if expired else None)
    issued.private_key_and_cert_chain_pem.write_to_path(made.server)
    with misbehaving(GOOD, tls=made.serving()) as server:
        error = refused(server.url, tmp_path, CA=str(made.ca))
    assert reason in error.message


def test_a_service_without_tls_for_an_https_url(tmp_path: Path) -> None:
    with misbehaving(GOOD) as server:
        error = refused(server.url.replace("http:", "https:"), tmp_path)
    assert "TLS fails: " in error.message


def test_an_interrupted_tls_handshake_is_retried(tmp_path: Path, pauses: list[float]) -> None:
    made = Certificates.made(tmp_path)
    with misbehaving(hang_up, GOOD, tls=made.serving()) as server:
        assert allocate(server.url, tmp_path, CA=str(made.ca)).hostname == "db"
    assert len(server.requests) == 2


@hypothesis_settings(max_examples=60)
@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_raise_only_allocation_errors(answer: bytes, is_body: bool) -> None:
    head = b"HTTP/1.1 200 OK\r\n" if is_body else b""
    with misbehaving(head + answer) as server:
        chosen = settings(Path("/nonexistent"), URL=server.url, RETRIES="0", TIMEOUT="5")
        request = exchange.Request(access.load(chosen), "PUT", "/v1/allocations/x", b"{}", 5, 0)
        with suppress(AllocationError):
            exchange.exchange(request)


@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")))
def test_any_text_becomes_one_line(text: str) -> None:
    assert failures.one_line(text).isprintable()
    assert len(failures.one_line(text)) <= 301
