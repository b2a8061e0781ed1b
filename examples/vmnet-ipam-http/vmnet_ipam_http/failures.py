"""What went wrong, in words that fit into one line of a log, whoever chose them."""

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

_LONGEST = 300  # characters of what a service says


def one_line(text: str) -> str:
    """A text from outside, of one line, without control characters and of bounded length."""
    plain = "".join(one if one.isprintable() else "?" for one in " ".join(text.split()))
    return plain if len(plain) <= _LONGEST else f"{plain[:_LONGEST]}…"


def problem(body: bytes) -> str:
    """Title and detail of a problem document (RFC 9457); empty where the body is none."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(document, dict):
        return ""
    said = (document.get(key) for key in ("title", "detail"))
    return ": ".join(one for one in said if isinstance(one, str) and one)


def explain(error: HTTPError | OSError) -> str:
    """Why a service could not be asked, or its answer not be read."""
    if isinstance(error, NameResolutionError):
        return "its name can't be resolved"
    if isinstance(error, ConnectTimeoutError) and not isinstance(error, NewConnectionError):
        return "it does not accept a connection in time"
    if isinstance(error, ReadTimeoutError):
        return "it does not answer in time"
    cause = next((one for one in _causes(error) if isinstance(one, OSError)), error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {one_line(cause.verify_message)}"
    if isinstance(cause, ssl.SSLError):
        return f"TLS fails: {one_line(cause.reason or str(cause))}"
    if isinstance(cause, OSError) and cause.strerror:
        return f"the connection fails: {one_line(cause.strerror)}"
    return f"the connection breaks: {one_line(str(cause))}"


def is_interrupted(error: SSLError) -> bool:
    """Whether TLS failed only for want of a connection, which may be better the next time."""
    return any(isinstance(one, ssl.SSLEOFError | ssl.SSLZeroReturnError) for one in _causes(error))


def _causes(error: BaseException) -> list[BaseException]:
    """What it was made of, the innermost first; libraries keep it in several places."""
    inner = (error.__cause__, error.__context__, *getattr(error, "args", ()))
    found = (_causes(one) for one in inner if isinstance(one, BaseException))
    return [*chain.from_iterable(found), error]
