"""Fixtures of the lab's own tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.netns import Lan, lan


@pytest.fixture
def network() -> Iterator[Lan]:
    """A LAN with both address families."""
    with lan(ipv6=True) as made:
        yield made
