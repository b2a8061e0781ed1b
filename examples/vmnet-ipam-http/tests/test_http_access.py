"""Settings for access to the service: valid, contradictory and unusable ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import vmnet_ipam_http as http
from vmnet_ipam_http import access

from tests.lab.ipam.http import TOKEN, Certificates, settings
from tests.lab.wait import WAIT
from vmnet.api import AllocationError, SettingsError, VmnetError


def refused(kind: type[VmnetError], **environ: str) -> VmnetError:
    with pytest.raises(kind) as caught:
        access.load(settings(Path("/run/vmnet"), **environ))
    error = caught.value
    assert error.hint
    return error


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(TOKEN)
    return path


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("https://ipam.example.org", "https://ipam.example.org"),
        ("https://ipam.example.org/", "https://ipam.example.org"),
        ("http://[2001:db8::5]:8080/ipam/", "http://[2001:db8::5]:8080/ipam"),
    ],
)
def test_the_url(given: str, url: str) -> None:
    assert access.load(settings(Path("/run/vmnet"), URL=given)).url == url


@pytest.mark.parametrize(
    "wrong",
    [
        "ipam.example.org",
        "ftp://ipam.example.org",
        "https://",
        "https://ipam.example.org/?pool=1",
        "https://ipam.example.org/#x",
        "https://ipam.example.org:port",
        "https://ipam.example.org:0",
        "https://ipam.example.org/a b",
        "https://ipam.example.org/\nX-Evil: 1",
        "https://ipäm.example.org",
        "https://[::1",
    ],
)
def test_an_invalid_url_is_refused(wrong: str) -> None:
    with pytest.raises(SettingsError, match="is not an address such as https://"):
        settings(Path("/run/vmnet"), URL=wrong)


@pytest.mark.parametrize("url", ["https://root:s3cret@h.test", "https://s3cret@h.test:x/"])
def test_credentials_in_the_url_are_refused_and_not_printed(url: str) -> None:
    error = refused(SettingsError, URL=url)
    assert "…@h.test" in error.message
    assert "VMNET_HTTP_TOKEN_FILE" in error.hint
    assert "s3cret" not in error.message + error.hint


def test_the_url_is_required() -> None:
    assert "VMNET_HTTP_URL is not set" in refused(SettingsError).message


def test_a_token_is_never_sent_unencrypted_beyond_loopback(token: Path) -> None:
    error = refused(SettingsError, URL="http://10.0.0.5", TOKEN_FILE=str(token))
    assert "contradict each other" in error.message
    for loopback in ("http://127.0.0.1:80", "http://localhost", "http://[::1]:8080"):
        loaded = access.load(settings(Path("/run/vmnet"), URL=loopback, TOKEN_FILE=str(token)))
        assert loaded.headers == {"Authorization": f"Bearer {TOKEN}"}
        assert TOKEN not in repr(loaded)


def test_plain_http_beyond_loopback_causes_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    access.check(settings(Path("/run/vmnet"), URL="http://127.0.0.1"))
    assert not caplog.text
    access.check(settings(Path("/run/vmnet"), URL="http://10.0.0.5"))
    assert "any machine on the network path can impersonate the service" in caplog.text


@pytest.mark.parametrize("name", ["CA", "CERTIFICATE", "KEY"])
def test_certificates_need_tls(name: str) -> None:
    error = refused(SettingsError, URL="http://127.0.0.1", **{name: "/some.pem"})
    assert f"VMNET_HTTP_{name}=/some.pem" in error.message


def test_the_token_file_may_end_with_a_line_break(tmp_path: Path) -> None:
    for end in ("", "\n", "\r\n"):
        (tmp_path / "token").write_bytes(f"{TOKEN}{end}".encode())
        chosen = settings(tmp_path, URL="https://h.test", TOKEN_FILE=str(tmp_path / "token"))
        assert access.load(chosen).headers == {"Authorization": f"Bearer {TOKEN}"}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"one\ntwo", "contains no token"),
        (b"one\r\nX-Evil: 1", "contains no token"),
        (b"two words", "contains no token"),
        (b"caf\xc3\xa9", "contains no token"),
        (b"zero\0", "contains no token"),
        (b"x" * (20 << 10), "contains no token"),
    ],
)
def test_a_file_without_a_token(content: bytes, reason: str, token: Path) -> None:
    token.write_bytes(content)
    error = refused(AllocationError, URL="https://h.test", TOKEN_FILE=str(token))
    assert f"VMNET_HTTP_TOKEN_FILE={token} {reason}" in error.message
    assert "secret" not in error.message


@pytest.mark.parametrize("name", ["TOKEN_FILE", "CA", "CERTIFICATE"])
def test_a_missing_file(name: str) -> None:
    error = refused(AllocationError, URL="https://h.test", **{name: "/absent/file"})
    assert f"VMNET_HTTP_{name}=/absent/file can't be read: No such file" in error.message
    assert "-v FILE:/absent/file:ro" in error.hint


@pytest.mark.parametrize("name", ["CA", "CERTIFICATE"])
def test_a_file_without_a_certificate(name: str, token: Path) -> None:
    error = refused(AllocationError, URL="https://h.test", **{name: str(token)})
    assert f"VMNET_HTTP_{name}={token} does not contain" in error.message


def test_a_key_needs_its_certificate(token: Path) -> None:
    error = refused(SettingsError, URL="https://h.test", KEY=str(token))
    assert "VMNET_HTTP_CERTIFICATE is not set" in error.message


def test_a_key_with_a_password_is_an_error(tmp_path: Path) -> None:
    """OpenSSL would ask the terminal for the password, and the start would hang."""
    made = Certificates.made(tmp_path)
    locked = tmp_path / "locked.pem"
    words = ("openssl", "pkey", "-aes256", "-passout", "pass:secret", "-in", made.server)
    subprocess.run((*words, "-out", locked), check=True, capture_output=True, timeout=WAIT)
    error = refused(
        AllocationError, URL="https://h.test", CERTIFICATE=str(made.server), KEY=str(locked)
    )
    assert f"VMNET_HTTP_CERTIFICATE={made.server} does not contain" in error.message


def test_planning_reports_wrong_settings() -> None:
    """Planning sends no request, but checks the settings."""
    with pytest.raises(SettingsError, match="VMNET_HTTP_URL is not set"):
        http.vmnet_ipam_requirements(settings(Path("/run/vmnet")))
    assert http.vmnet_ipam_requirements(settings(Path("/r"), URL="https://h.test")) is None


def test_importing_the_plugin_imports_no_libraries() -> None:
    program = "import sys, vmnet_ipam_http; print(*sys.modules)"
    done = subprocess.run(
        (sys.executable, "-c", program), capture_output=True, text=True, timeout=WAIT, check=True
    )
    heavy = {"urllib3", "ssl", "cattrs", "json", "uuid", "http", "concurrent"}
    assert not heavy & {module.split(".")[0] for module in done.stdout.split()}
