"""The two requests to the service: allocate and release."""

from __future__ import annotations

import json
from typing import Any

from attrs import evolve

from vmnet.api import DNS, NTP, RUN_DIR, AllocationError, Identity, Settings
from vmnet_ipam_http import RETRIES, TIMEOUT, TOKEN_FILE, URL, access, claim, merge, protocol
from vmnet_ipam_http.claim import Claim
from vmnet_ipam_http.exchange import Request, Response, exchange
from vmnet_ipam_http.failures import one_line


def allocate(settings: Settings, identity: Identity) -> Identity:
    """Return the identity with the service's allocation.

    :raises vmnet.errors.VmnetError: the request fails, or the service refuses it or sends an
        unusable answer
    """
    service = access.load(settings)
    own_claim = claim.create(settings[RUN_DIR], service.url)
    body = json.dumps(protocol.question(identity)).encode()
    request = _request(settings, service, "PUT", own_claim, body)
    answer = exchange(request)
    if answer.status not in (200, 201):
        raise _refused(request, answer)
    try:
        allocation = protocol.read(answer.body)
        # The user's settings for this container take precedence over the service.
        if settings.is_given(DNS):
            allocation = evolve(allocation, nameservers=None)
        if settings.is_given(NTP):
            allocation = evolve(allocation, ntp=None)
        return merge.merge(identity, allocation)
    except ValueError as error:
        raise AllocationError(
            f"{request.url} sends an unusable answer: {one_line(str(error))}",
            "correct the service; vmnet-ipam-http's openapi.yaml specifies its answers",
        ) from None


def release(settings: Settings) -> None:
    """Release what was or may have been allocated, at the service that got the request.

    :raises vmnet.errors.VmnetError: the allocation may still exist
    """
    own_claim = claim.load(settings[RUN_DIR])
    if own_claim is None:
        return
    request = _request(settings, access.load(settings, own_claim.url), "DELETE", own_claim)
    answer = exchange(request)
    if answer.status not in (200, 202, 204, 404, 410):
        raise _refused(request, answer)
    claim.remove(settings[RUN_DIR])


def _request(
    settings: Settings,
    service: access.Access,
    method: str,
    own_claim: Claim,
    body: bytes | None = None,
) -> Request:
    return Request(service, method, own_claim.path, body, settings[TIMEOUT], settings[RETRIES])


def _refused(request: Request, answer: Response) -> AllocationError:
    hints: dict[int, Any] = {
        401: f"the service requires a valid token: `-e {TOKEN_FILE.name}=…`",
        403: f"allow the token in {TOKEN_FILE.name} to do this, at the service",
        404: f"check the address of the service: {URL.name}={request.access.url}",
        409: "the pool is exhausted: free addresses, or use another service",
    }
    hint = hints.get(answer.status, "see the log of the service")
    if 300 <= answer.status < 400:
        hint = f"http does not follow redirects: set {URL.name} to the final URL"
        if answer.location:
            hint += f"; the redirect points to {one_line(answer.location)}"
    return AllocationError(f"{request.url} answers {answer} to {request.method}", hint)
