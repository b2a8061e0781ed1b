"""One exchange with the service: attempts until it answers, within a time that nothing exceeds."""

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
from vmnet_ipam_http.protocol import MOST_BYTES

Result = TypeVar("Result")

TRANSIENT = frozenset((429, 502, 503, 504))
_ATTEMPT = 10.0  # seconds that one attempt may take of the whole
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 8.0  # seconds
_CHUNK = 64 << 10
_GRACE = 1.0  # seconds that the attempts have to end in by themselves, with words of their own
_REACH = (
    "is the service up, and reachable from this container? "
    f"{RETRIES.name} and {TIMEOUT.name} tell how long to try"
)
_TRUST = (
    f"{CA.name} names the certificates to trust, {CERTIFICATE.name} what the service may want to "
    f"see; the name in {URL.name} must be one of its certificate"
)
_log = logging.getLogger(__name__)


@frozen
class Answer:
    """:param retry_after: seconds that the service asks us to wait; None where it does not"""

    status: int
    body: bytes
    location: str = ""
    retry_after: float | None = None

    def __str__(self) -> str:
        """The status, and what the service says about it (RFC 9457)."""
        said = failures.problem(self.body) or responses.get(self.status, "")
        return f"{self.status} {one_line(said)}".rstrip()


@frozen
class Request:
    """:param seconds: for all attempts together
    :param retries: how many attempts follow the first
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


def exchange(request: Request) -> Answer:
    """What the service answers, which may be a refusal.

    All methods are tried again, so each must be idempotent.

    :raises AllocationError: it can't be reached, is overloaded, or takes too long
    """
    try:
        return _within(request.seconds + _GRACE, lambda: _persist(request))
    except TimeoutError:
        raise _late(request, "no answer") from None


def _within(seconds: float, work: Callable[[], Result]) -> Result:
    """Do it in a thread that is given up when the time is over.

    No timeout of a socket bounds this: name resolution has none, and a server that sends a byte now
    and then keeps within each of them for ever. The thread ends with the process, which ends soon.

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


def _persist(request: Request) -> Answer:
    deadline = time.monotonic() + request.seconds
    for attempt in range(request.retries + 1):
        pause = random.uniform(0.5, 1.5) * min(_FIRST_PAUSE * 2**attempt, _LONGEST_PAUSE)
        try:
            answer = _ask(request, deadline - time.monotonic())
        except (HTTPError, OSError) as error:
            trouble = failures.explain(error)
            # A server that wants a certificate may hang up before its reason has arrived.
            hint = _TRUST if isinstance(error, SSLError) else _REACH
            if isinstance(error, SSLError) and not failures.is_interrupted(error):
                raise AllocationError(f"{request.url}: {trouble}", hint) from None
        else:
            if answer.status not in TRANSIENT:
                return answer
            trouble, hint = f"it answers {answer}", _REACH
            pause = pause if answer.retry_after is None else answer.retry_after
        if attempt == request.retries:
            break
        if time.monotonic() + pause >= deadline:
            raise _late(request, trouble, hint)
        _log.warning("%s: %s; again in %.1f s", request.url, trouble, pause)
        time.sleep(pause)
    raise AllocationError(f"{request.url}: {trouble}, at attempt {request.retries + 1}", hint)


def _ask(request: Request, left: float) -> Answer:
    """One attempt, on a connection of its own: a kept one may break just when it is used again.

    Redirects are not followed: they could lead the token anywhere.
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
            timeout=Timeout(total=max(0.1, min(left, _ATTEMPT))),
        )
        return Answer(
            response.status,
            _body(response),
            response.headers.get("Location", ""),
            _seconds(response.headers.get("Retry-After")),
        )


def _body(response: urllib3.BaseHTTPResponse) -> bytes:
    """As much of it as is needed to see that it is too large, and as it was sent."""
    body = b""
    try:
        while len(body) <= MOST_BYTES and (more := response.read(_CHUNK, decode_content=False)):
            body += more
    finally:
        response.close()
    return body


def _seconds(retry_after: str | None) -> float | None:
    """Retry-After, as a number or a date (RFC 9110 section 10.2.3); nonsense is as none."""
    if retry_after is None:
        return None
    try:
        return Retry().parse_retry_after(retry_after)
    except (InvalidHeader, ValueError, OverflowError):
        return None


def _late(request: Request, trouble: str, hint: str = _REACH) -> AllocationError:
    return AllocationError(
        f"{request.url}: {trouble}, and {TIMEOUT.name}={request.seconds} allows no further attempt",
        hint,
    )
