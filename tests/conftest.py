"""What every test shares."""

from __future__ import annotations

import pytest
from hypothesis import settings

# The machine is shared: how long one example takes says nothing about the code.
settings.register_profile("vmnet", deadline=None)
settings.load_profile("vmnet")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kills",
        type=int,
        default=12,
        help="how often test_disk.py ends a VM whose guest writes (12; 200 before a release)",
    )
