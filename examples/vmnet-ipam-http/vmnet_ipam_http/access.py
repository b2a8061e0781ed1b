"""Access to the service: its URL, the trusted certificates, and the credentials."""

from __future__ import annotations

import logging
import re
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from attrs import field, frozen

from vmnet.api import AllocationError, Setting, Settings, SettingsError
from vmnet_ipam_http import CA, CERTIFICATE, KEY, TOKEN_FILE, URL

if TYPE_CHECKING:
    import ssl

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*", re.ASCII)  # b64token of RFC 6750 section 2.1
_MAX_TOKEN_BYTES = 16 << 10
_log = logging.getLogger(__name__)


@frozen
class Access:
    """The URL, TLS context and headers of a request to the service.

    :param tls: None for a plain http URL
    :param headers: secret authorisation headers; never print or log them
    """

    url: str
    tls: ssl.SSLContext | None
    headers: dict[str, str] = field(repr=False)


def load(settings: Settings, url: str | None = None) -> Access:
    """Read the settings and their files, each time anew, because tokens are renewed.

    :param url: the service, if it is not the service that the settings name
    :raises SettingsError: variables contradict each other, or a variable is missing
    :raises AllocationError: a file is unusable
    """
    url = url or settings[URL]
    if url is None:
        raise SettingsError(
            f"the strategy http is selected, but {URL.name} is not set",
            f"{URL.help}: `-e {URL.name}=https://…`",
        )
    parts = urlsplit(url)
    if "@" in url:
        raise SettingsError(
            f"{URL.name}={parts.scheme}://…@{url.rpartition('@')[2]} contains credentials",
            f"write a token to a file that only root can read: `-e {TOKEN_FILE.name}=…`",
        )
    token = settings[TOKEN_FILE]
    if parts.scheme == "http":
        _refuse_certificates(settings, url)
        if token is not None and not _is_loopback(url):
            raise SettingsError(
                f"{TOKEN_FILE.name}={token} and {URL.name}={url} contradict each other: "
                "http would send the token unencrypted",
                f"use TLS: `-e {URL.name}=https://…`",
            )
    headers = {"Authorization": f"Bearer {_read_token(token)}"} if token else {}
    return Access(url, _tls(settings) if parts.scheme == "https" else None, headers)


def check(settings: Settings) -> None:
    """Check the settings without a request to the service, and warn about plain http.

    :raises vmnet.errors.VmnetError: as :func:`load`
    """
    access = load(settings)
    if access.tls is None and not _is_loopback(access.url):
        _log.warning(
            "%s=%s: without TLS, any machine on the network path can impersonate the service",
            URL.name,
            access.url,
        )


def _refuse_certificates(settings: Settings, url: str) -> None:
    for row in (CA, CERTIFICATE, KEY):
        if settings.is_given(row):
            raise SettingsError(
                f"{row.name}={settings[row]} and {URL.name}={url} contradict each other: "
                "certificates need https",
                f"use TLS: `-e {URL.name}=https://…`",
            )


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _read_token(path: Path) -> str:
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_TOKEN_BYTES + 1).decode("ascii", "replace").rstrip("\r\n")
    except OSError as error:
        raise _unusable(TOKEN_FILE, path, f"can't be read: {error.strerror}") from None
    if not text:
        raise _unusable(TOKEN_FILE, path, "is empty")
    if len(text) > _MAX_TOKEN_BYTES or not _TOKEN.fullmatch(text):
        raise _unusable(
            TOKEN_FILE, path, "contains no token, which is a line of letters, digits and ._~+/-="
        )
    return text


def _tls(settings: Settings) -> ssl.SSLContext:
    """Return a TLS context that verifies the service and presents the client certificate."""
    import ssl

    ca, certificate, key = settings[CA], settings[CERTIFICATE], settings[KEY]
    if key is not None and certificate is None:
        raise SettingsError(
            f"{KEY.name}={key}, but {CERTIFICATE.name} is not set",
            f"set the certificate of the key: `-e {CERTIFICATE.name}=…`",
        )
    try:
        context = ssl.create_default_context(cafile=ca)
    except OSError as error:  # ssl.SSLError included
        raise _unusable(CA, ca, _reason(error, "certificates in PEM format")) from None
    if certificate is not None:
        try:
            # Without a callback, OpenSSL would ask the terminal for the password of the key.
            context.load_cert_chain(certificate, key, password=lambda: "")
        except OSError as error:
            expected = "a certificate and its key, without a password, in PEM format"
            raise _unusable(CERTIFICATE, certificate, _reason(error, expected)) from None
    return context


def _reason(error: OSError, expected: str) -> str:
    import ssl

    if isinstance(error, ssl.SSLError):
        return f"does not contain {expected}: {error.reason or error}"
    return f"can't be read: {error.strerror}"


def _unusable(row: Setting[Path | None], path: Path | None, reason: str) -> AllocationError:
    return AllocationError(
        f"{row.name}={path} {reason}", f"{row.help}; mount it: `-v FILE:{path}:ro`"
    )
