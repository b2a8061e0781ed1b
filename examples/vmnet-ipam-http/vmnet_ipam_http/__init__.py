"""``http``: an HTTP service allocates what the guest is to have; others deliver it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vmnet.api import Identity, Setting, Settings, hookimpl, optional, setting, values


def base_url(value: str) -> str:
    """An http or https URL, without a slash at its end.

    One with credentials passes here, to be refused by :mod:`vmnet_ipam_http.access`: the error for
    a malformed setting would show them.
    """
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(value)
        is_good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        is_good = False
    plain = value.isascii() and value.isprintable() and not set(value) & set(' \\?#"<>')
    if not (is_good and plain) and "@" not in value:
        raise ValueError("an address such as https://ipam.example.org or http://10.0.0.5:8080/ipam")
    return value.rstrip("/")


URL = optional(
    "VMNET_HTTP_URL",
    base_url,
    "the service that http asks; /v1/allocations/… is added to it",
)
TOKEN_FILE = optional(
    "VMNET_HTTP_TOKEN_FILE",
    values.absolute_path,
    "file with the token that http sends, read whenever the service is asked",
)
CA = optional(
    "VMNET_HTTP_CA",
    values.absolute_path,
    "file with the certificates that http trusts, in place of the system's",
)
CERTIFICATE = optional(
    "VMNET_HTTP_CERTIFICATE",
    values.absolute_path,
    "file with the certificate that http shows the service",
)
KEY = optional(
    "VMNET_HTTP_KEY",
    values.absolute_path,
    "file with the key of VMNET_HTTP_CERTIFICATE, where the key is not in that file",
)
TIMEOUT = setting(
    "VMNET_HTTP_TIMEOUT",
    values.integer(1, 600),
    "30",
    "seconds in which http must be done with the service, all its attempts together",
)
RETRIES = setting(
    "VMNET_HTTP_RETRIES",
    values.integer(0, 100),
    "5",
    "how often http tries again where the service can't be reached or is overloaded",
)


@hookimpl
def vmnet_settings() -> Sequence[Setting[Any]]:
    return (URL, TOKEN_FILE, CA, CERTIFICATE, KEY, TIMEOUT, RETRIES)


@hookimpl
def vmnet_ipam_allocate(settings: Settings, identity: Identity) -> Identity:
    from vmnet_ipam_http import client

    return client.allocate(settings, identity)


@hookimpl
def vmnet_ipam_release(settings: Settings, identity: Identity) -> None:
    """The identity does not tell two containers apart; the claim in the run directory does."""
    from vmnet_ipam_http import client

    client.release(settings)


@hookimpl
def vmnet_ipam_requirements(settings: Settings) -> None:
    """Nothing of the bridge. But `vmnet plan`, which asks no service, finds wrong settings here."""
    from vmnet_ipam_http import access

    access.check(settings)
