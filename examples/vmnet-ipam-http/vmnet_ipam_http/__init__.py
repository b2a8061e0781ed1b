"""``http``: an HTTP service allocates the guest's identity; another strategy delivers it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vmnet.api import Identity, Setting, Settings, hookimpl, optional, setting, values


def base_url(value: str) -> str:
    """Parse an http or https URL, and remove a slash at its end.

    This accepts a URL with credentials, because the error for a malformed setting would print them.
    :mod:`vmnet_ipam_http.access` refuses it.
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
    "base URL of the IPAM service; http appends /v1/allocations/…",
)
TOKEN_FILE = optional(
    "VMNET_HTTP_TOKEN_FILE",
    values.absolute_path,
    "file with the bearer token for the service; http reads it for each request",
)
CA = optional(
    "VMNET_HTTP_CA",
    values.absolute_path,
    "file with the CA certificates that http trusts, instead of the system's",
)
CERTIFICATE = optional(
    "VMNET_HTTP_CERTIFICATE",
    values.absolute_path,
    "file with the client certificate for the service",
)
KEY = optional(
    "VMNET_HTTP_KEY",
    values.absolute_path,
    "file with the key of VMNET_HTTP_CERTIFICATE, unless that file contains it",
)
TIMEOUT = setting(
    "VMNET_HTTP_TIMEOUT",
    values.integer(1, 600),
    "30",
    "seconds for a request to the service, including all retries",
)
RETRIES = setting(
    "VMNET_HTTP_RETRIES",
    values.integer(0, 100),
    "5",
    "number of retries if the service can't be reached or is overloaded",
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
    # The claim in the run directory identifies the container; two containers may share an identity.
    from vmnet_ipam_http import client

    client.release(settings)


@hookimpl
def vmnet_ipam_requirements(settings: Settings) -> None:
    """Check the settings, so that `vmnet plan`, which does not allocate, reports errors in them."""
    from vmnet_ipam_http import access

    access.check(settings)
