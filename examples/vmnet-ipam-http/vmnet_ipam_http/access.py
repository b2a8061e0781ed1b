"""What the settings say about reaching the service: where it is, whom to trust, what to show."""

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
_MOST_BYTES = 16 << 10  # of a token
_log = logging.getLogger(__name__)


@frozen
class Access:
    """:param tls: None where the URL is a plain http one
    :param headers: what authorises us; never to be shown
    """

    url: str
    tls: ssl.SSLContext | None
    headers: dict[str, str] = field(repr=False)


def grant(settings: Settings, url: str | None = None) -> Access:
    """The way to the service; what it takes is read anew each time, for tokens are renewed.

    :param url: the service, where it is not the one that the settings name
    :raises SettingsError: the variables contradict each other, or one is missing
    :raises AllocationError: a file that one names is of no use
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
            f"{URL.name}={parts.scheme}://…@{url.rpartition('@')[2]} holds credentials",
            f"put a token into a file that only root reads, and name it: `-e {TOKEN_FILE.name}=…`",
        )
    token = settings[TOKEN_FILE]
    if parts.scheme == "http":
        _refuse_what_takes_tls(settings, url)
        if token is not None and not _is_loopback(url):
            _refuse_to_show(token, url)
    headers = {"Authorization": f"Bearer {_read_token(token)}"} if token else {}
    return Access(url, _tls(settings) if parts.scheme == "https" else None, headers)


def check(settings: Settings) -> None:
    """Find what is wrong without asking the service, and warn of what is unwise.

    :raises vmnet.errors.VmnetError: as :func:`grant`
    """
    granted = grant(settings)
    if granted.tls is None and not _is_loopback(granted.url):
        _log.warning("%s=%s: anybody on the way can answer in its place", URL.name, granted.url)


def _refuse_what_takes_tls(settings: Settings, url: str) -> None:
    for row in (CA, CERTIFICATE, KEY):
        if settings.is_given(row):
            raise SettingsError(
                f"{row.name}={settings[row]} and {URL.name}={url} contradict each other: "
                "certificates take https",
                f"have the service speak TLS: `-e {URL.name}=https://…`",
            )


def _refuse_to_show(token: Path, url: str) -> None:
    raise SettingsError(
        f"{TOKEN_FILE.name}={token} and {URL.name}={url} contradict each other: "
        "all on the way could read the token",
        f"have the service speak TLS: `-e {URL.name}=https://…`",
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
            text = file.read(_MOST_BYTES + 1).decode("ascii", "replace").rstrip("\r\n")
    except OSError as error:
        raise _useless(TOKEN_FILE, path, f"can't be read: {error.strerror}") from None
    if not text:
        raise _useless(TOKEN_FILE, path, "is empty")
    if len(text) > _MOST_BYTES or not _TOKEN.fullmatch(text):
        raise _useless(TOKEN_FILE, path, "holds no token: one line of letters, digits and ._~+/-=")
    return text


def _tls(settings: Settings) -> ssl.SSLContext:
    """TLS that verifies the service, with what the settings add to the system's defaults."""
    import ssl

    ca, certificate, key = settings[CA], settings[CERTIFICATE], settings[KEY]
    if key is not None and certificate is None:
        raise SettingsError(
            f"{KEY.name}={key}, but {CERTIFICATE.name} is not set",
            f"name its certificate: `-e {CERTIFICATE.name}=…`",
        )
    try:
        context = ssl.create_default_context(cafile=ca)
    except OSError as error:  # ssl.SSLError included
        raise _useless(CA, ca, _why(error, "certificates in PEM form")) from None
    if certificate is not None:
        try:
            # The password of a key that is locked with one would be asked for on the terminal.
            context.load_cert_chain(certificate, key, password=lambda: "")
        except OSError as error:
            wanted = "a certificate and its key, not locked with a password, in PEM form"
            raise _useless(CERTIFICATE, certificate, _why(error, wanted)) from None
    return context


def _why(error: OSError, wanted: str) -> str:
    import ssl

    if isinstance(error, ssl.SSLError):
        return f"does not hold {wanted}: {error.reason or error}"
    return f"can't be read: {error.strerror}"


def _useless(row: Setting[Path | None], path: Path | None, why: str) -> AllocationError:
    return AllocationError(f"{row.name}={path} {why}", f"{row.help}; mount it: `-v FILE:{path}:ro`")
