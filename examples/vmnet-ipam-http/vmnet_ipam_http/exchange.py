"""Send a request to the service and retry it, within a strict time limit."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from concurrent.futures import Future
from http.client import responses
from threading import Thread
from typing import TypeVar

import urllib3
from attrs import frozen
from urllib3.exceptions import HTTPError, InvalidHeader, SSLError
from urllib3.util import Retry, Timeout

from vmnet.api import AllocationError
from vmnet_ipam_http import CA, CERTIFICATE, RETRIES, TIMEOUT, URL, failures
from vmnet_ipam_http.access import Access
from vmnet_ipam_http.failures import one_line
from vmnet_ipam_http.protocol import MAX_BYTES

Result = TypeVar("Result")

TRANSIENT = frozenset((429, 502, 503, 504))
_ATTEMPT = 10.0  # seconds for an attempt
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 8.0  # seconds
_CHUNK = 64 << 10  # bytes
_GRACE = 1.0  # seconds for the attempts to end with their own, more specific error
_UNREACHABLE_HINT = (
    "check that the service is up and reachable from this container; "
    f"{RETRIES.name} and {TIMEOUT.name} limit the retries"
)
_TLS_HINT = (
    f"{CA.name} sets the trusted certificates, {CERTIFICATE.name} the client certificate; "
    f"the service's certificate must contain the name in {URL.name}"
)
_log = logging.getLogger(__name__)


@frozen
class Response:
    """The service's response.

    :param retry_after: seconds to wait, from the service's Retry-After; None without it
    """

    status: int
    body: bytes
    location: str = ""
    retry_after: float | None = None

    def __str__(self) -> str:
        """Return the status and its explanation by the service (RFC 9457)."""
        explanation = failures.problem(self.body) or responses.get(self.status, "")
        return f"{self.status} {one_line(explanation)}".rstrip()


@frozen
class Request:
    """A request to the service.

    :param seconds: limit for all attempts together
    :param retries: number of attempts after the first
    """

    access: Access
    method: str
    path: str
    body: bytes | None
    seconds: int
    retries: int

    @property
    def url(self) -> str:
        return f"{self.access.url}{self.path}"


def exchange(request: Request) -> Response:
    """Send the request and return the service's answer, which may be a refusal.

    Requests are retried, so they must be idempotent.

    :raises AllocationError: the service can't be reached, is overloaded, or takes too long
    """
    try:
        return _within(request.seconds + _GRACE, lambda: _retry(request))
    except TimeoutError:
        raise _timed_out(request, "no answer") from None


def _within(seconds: float, work: Callable[[], Result]) -> Result:
    """Run ``work`` in a thread, and abandon the thread when the time is over.

    Socket timeouts don't suffice: name resolution has none, and a server that sends a byte now and
    then never exceeds them. The thread ends with the process, which ends soon.

    :raises TimeoutError: the time is over
    """
    outcome: Future[Result] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:
            outcome.set_exception(error)

    thread = Thread(target=run, daemon=True)
    thread.start()
    result = outcome.result(seconds)
    thread.join()
    return result


def _retry(request: Request) -> Response:
    deadline = time.monotonic() + request.seconds
    for attempt in range(request.retries + 1):
        pause = random.uniform(0.5, 1.5) * min(_FIRST_PAUSE * 2**attempt, _LONGEST_PAUSE)
        try:
            answer = _attempt(request, deadline - time.monotonic())
        except (HTTPError, OSError) as error:
            failure = failures.explain(error)
            # A server that requires a certificate may hang up before its reason arrives.
            hint = _TLS_HINT if isinstance(error, SSLError) else _UNREACHABLE_HINT
            if isinstance(error, SSLError) and not failures.is_interrupted(error):
                raise AllocationError(f"{request.url}: {failure}", hint) from None
        else:
            if answer.status not in TRANSIENT:
                return answer
            failure, hint = f"the service answers {answer}", _UNREACHABLE_HINT
            pause = pause if answer.retry_after is None else answer.retry_after
        if attempt == request.retries:
            break
        if time.monotonic() + pause >= deadline:
            raise _timed_out(request, failure, hint)
        _log.warning("%s: %s; retrying in %.1f s", request.url, failure, pause)
        time.sleep(pause)
    raise AllocationError(f"{request.url}: {failure}, at attempt {request.retries + 1}", hint)


def _attempt(request: Request, remaining: float) -> Response:
    """Send the request once, on a new connection, because a reused connection may just break.

    Do not follow redirects, which could send the token to any host.
    """
    tls = {} if request.access.tls is None else {"ssl_context": request.access.tls}
    with urllib3.connection_from_url(request.access.url, **tls) as pool:
        response = pool.urlopen(
            request.method,
            urllib3.util.parse_url(request.url).request_uri,
            body=request.body,
            headers={
                "Accept": "application/json, application/problem+json",
                "Connection": "close",
                "Content-Type": "application/json",
                "User-Agent": "vmnet-ipam-http",
                **request.access.headers,
            },
            retries=False,
            redirect=False,
            preload_content=False,
            timeout=Timeout(total=max(0.1, min(remaining, _ATTEMPT))),
        )
        return Response(
            response.status,
            _body(response),
            response.headers.get("Location", ""),
            _seconds(response.headers.get("Retry-After")),
        )


def _body(response: urllib3.BaseHTTPResponse) -> bytes:
    """Read the body, undecoded, and stop when it is too large."""
    body = b""
    try:
        while len(body) <= MAX_BYTES and (chunk := response.read(_CHUNK, decode_content=False)):
            body += chunk
    finally:
        response.close()
    return body


def _seconds(retry_after: str | None) -> float | None:
    """Parse Retry-After, a number or a date (RFC 9110 section 10.2.3); ignore a malformed value."""
    if retry_after is None:
        return None
    try:
        return Retry().parse_retry_after(retry_after)
    except (InvalidHeader, ValueError, OverflowError):
        return None


def _timed_out(request: Request, failure: str, hint: str = _UNREACHABLE_HINT) -> AllocationError:
    return AllocationError(
        f"{request.url}: {failure}, and {TIMEOUT.name}={request.seconds} allows no further attempt",
        hint,
    )
