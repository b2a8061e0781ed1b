"""Fixtures for the tests of the lab."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.net.lan import Lan, lan


@pytest.fixture
def network() -> Iterator[Lan]:
    """A LAN with IPv4 and IPv6."""
    with lan(ipv6=True) as made:
        yield made
