"""The module that ``pytest --vmnet-plugin NAME`` collects: the conformance suite for NAME."""

from __future__ import annotations

from vmnet.testing.conformance import Conformance


class TestConformance(Conformance):
    pass
