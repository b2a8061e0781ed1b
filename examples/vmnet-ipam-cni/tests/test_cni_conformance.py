"""The conformance suite, with a real host-local pool."""

from __future__ import annotations

import pytest

from tests.lab.ipam.cni import Lab, lab
from vmnet.testing.conformance import Conformance

__all__ = ["lab"]


class TestConformance(Conformance):
    plugin = "cni"

    @pytest.fixture
    def vmnet_environ(self, lab: Lab) -> dict[str, str]:
        lab.host_local()
        environ = lab.environ()
        return {key: value for key, value in environ.items() if key.startswith("VMNET_CNI_")}
