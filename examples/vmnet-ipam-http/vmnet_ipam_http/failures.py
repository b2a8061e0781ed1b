"""Describe failures in a log line, and make text from outside safe for it."""

from __future__ import annotations

import json
import ssl
from itertools import chain

from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)

_MAX_LENGTH = 300  # of text from the service, in characters


def one_line(text: str) -> str:
    """Return the text on one line, without control characters, and truncated."""
    line = " ".join(text.split())
    line = "".join(character if character.isprintable() else "?" for character in line)
    return line if len(line) <= _MAX_LENGTH else f"{line[:_MAX_LENGTH]}…"


def problem(body: bytes) -> str:
    """Return title and detail of a problem document (RFC 9457), or an empty string."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(document, dict):
        return ""
    parts = (document.get(key) for key in ("title", "detail"))
    return ": ".join(part for part in parts if isinstance(part, str) and part)


def explain(error: HTTPError | OSError) -> str:
    """Explain why a request failed, or its answer can't be read."""
    if isinstance(error, NameResolutionError):
        return "the name of the service can't be resolved"
    if isinstance(error, ConnectTimeoutError) and not isinstance(error, NewConnectionError):
        return "the service does not accept a connection in time"
    if isinstance(error, ReadTimeoutError):
        return "the service does not answer in time"
    cause = next((cause for cause in _causes(error) if isinstance(cause, OSError)), error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"the certificate of the service is invalid: {one_line(cause.verify_message)}"
    if isinstance(cause, ssl.SSLError):
        return f"TLS fails: {one_line(cause.reason or str(cause))}"
    if isinstance(cause, OSError) and cause.strerror:
        return f"the connection fails: {one_line(cause.strerror)}"
    return f"the connection breaks: {one_line(str(cause))}"


def is_interrupted(error: SSLError) -> bool:
    """Return whether TLS failed because the connection ended, so that a retry may succeed."""
    return any(
        isinstance(cause, ssl.SSLEOFError | ssl.SSLZeroReturnError) for cause in _causes(error)
    )


def _causes(error: BaseException) -> list[BaseException]:
    """Return the causes of an error, innermost first; libraries keep them in several places."""
    direct = (error.__cause__, error.__context__, *getattr(error, "args", ()))
    nested = (_causes(cause) for cause in direct if isinstance(cause, BaseException))
    return [*chain.from_iterable(nested), error]
