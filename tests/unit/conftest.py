"""Fixtures of the unit tests."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from tests.unit import recorder
from vmnet.lifecycle import helpers, stop_signals
from vmnet.net import namespace_record
from vmnet.supervision import signals
from vmnet.supervision.watches import Watch

INSTALLED = Path(__file__).with_name("installed")


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The recorder is installed, its book empty; the start's signal handlers go again."""
    monkeypatch.syspath_prepend(INSTALLED)
    recorder.CALLS.clear()
    recorder.FAIL_AT.clear()
    made = helpers._watches

    def harmless(*given: Any) -> Iterator[Watch]:
        """Yield the watches with a program that changes nothing in the machine's own network."""
        return (evolve(watch, argv=("/bin/true",)) for watch in made(*given))

    monkeypatch.setattr(helpers, "_watches", harmless)
    kept = {number: signal.getsignal(number) for number in signals.STOP_SIGNALS}
    yield
    stop_signals._arrived.clear()
    for number, handler in kept.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def namespace_records(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The record of the network namespace, in memory: the tests run in that of the machine."""
    records: list[bytes] = []

    def save(data: bytes) -> None:
        records[:] = [data]

    monkeypatch.setattr(namespace_record, "save", save)
    monkeypatch.setattr(namespace_record, "load", lambda: records[0] if records else None)
    monkeypatch.setattr(namespace_record, "remove", records.clear)
    return records
