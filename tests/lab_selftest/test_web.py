"""A page is requested until it has arrived as a whole."""

from __future__ import annotations

from tests.lab.command import run
from tests.lab.ipam.http import misbehaving, response
from tests.lab.web import fetch


def test_an_answer_that_breaks_off_is_requested_again() -> None:
    answer = response(200, "a page")
    with misbehaving(b"", answer[:-2], response(503), answer) as server:
        assert fetch(run, server.url).stdout == "a page"
    assert len(server.requests) == 4
