"""Downloads of root folders survive a mirror that fails for a moment."""

from __future__ import annotations

from tests.lab.command import run
from tests.lab.images.debootstrap import repeating
from tests.lab.ipam.http import misbehaving, response


def test_debootstrap_s_wget_repeats_a_request() -> None:
    failures = (response(503), b"", response(502))
    with misbehaving(*failures, response(200, "a package")) as server, repeating() as environ:
        done = run("wget", "-q", "-O", "-", server.url, env={**environ, "no_proxy": "127.0.0.1"})
    assert done.stdout == "a package"
    assert len(server.requests) == len(failures) + 1
