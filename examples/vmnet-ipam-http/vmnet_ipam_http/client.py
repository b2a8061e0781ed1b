"""Allocate and release: the two things that the service is asked."""

from __future__ import annotations

import json
from typing import Any

from attrs import evolve

from vmnet.api import DNS, NTP, RUN_DIR, AllocationError, Identity, Settings
from vmnet_ipam_http import RETRIES, TIMEOUT, TOKEN_FILE, URL, access, claim, merge, protocol
from vmnet_ipam_http.claim import Claim
from vmnet_ipam_http.exchange import Answer, Request, exchange
from vmnet_ipam_http.failures import one_line


def allocate(settings: Settings, identity: Identity) -> Identity:
    """The identity with what the service allocates.

    :raises vmnet.errors.VmnetError: the service can't be asked, refuses, or answers nonsense
    """
    granted = access.grant(settings)
    staked = claim.stake(settings[RUN_DIR], granted.url)
    body = json.dumps(protocol.question(identity)).encode()
    request = _request(settings, granted, "PUT", staked, body)
    answer = exchange(request)
    if answer.status not in (200, 201):
        raise _refused(request, answer)
    try:
        told = protocol.read(answer.body)
        # What the user sets for this one container goes before what a service says for all.
        if settings.is_given(DNS):
            told = evolve(told, nameservers=None)
        if settings.is_given(NTP):
            told = evolve(told, ntp=None)
        return merge.merge(identity, told)
    except ValueError as error:
        raise AllocationError(
            f"{request.url} answers what can't be used: {one_line(str(error))}",
            "the service has to mend its answer; vmnet-ipam-http's openapi.yaml tells the form",
        ) from None


def release(settings: Settings) -> None:
    """Give back what was allocated, or may have been, where it was asked for.

    :raises vmnet.errors.VmnetError: it may still be allocated
    """
    staked = claim.load(settings[RUN_DIR])
    if staked is None:
        return
    request = _request(settings, access.grant(settings, staked.url), "DELETE", staked)
    answer = exchange(request)
    if answer.status not in (200, 202, 204, 404, 410):
        raise _refused(request, answer)
    claim.drop(settings[RUN_DIR])


def _request(
    settings: Settings,
    granted: access.Access,
    method: str,
    staked: Claim,
    body: bytes | None = None,
) -> Request:
    return Request(granted, method, staked.path, body, settings[TIMEOUT], settings[RETRIES])


def _refused(request: Request, answer: Answer) -> AllocationError:
    hints: dict[int, Any] = {
        401: f"it wants a token that it knows: `-e {TOKEN_FILE.name}=…`",
        403: f"what it lets the bearer of the token do is decided there: {TOKEN_FILE.name}",
        404: f"is this the service's address? {URL.name}={request.access.url}",
        409: "it has nothing to give: make room there, or start the container elsewhere",
    }
    hint = hints.get(answer.status, "the service's own log may tell more")
    if 300 <= answer.status < 400:
        hint = f"redirects are not followed: set {URL.name} to where the service is"
        if answer.location:
            hint += f"; it points to {one_line(answer.location)}"
    return AllocationError(f"{request.url} answers {answer} to {request.method}", hint)
