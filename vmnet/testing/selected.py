"""What ``pytest --vmnet-plugin NAME`` collects: the conformance suite, on that plugin."""

from __future__ import annotations

from vmnet.testing.conformance import Conformance


class TestConformance(Conformance):
    pass
