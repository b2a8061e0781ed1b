"""The conformance suite, with the real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.ipam.http import Service, service
from vmnet.testing.conformance import Conformance


class TestConformance(Conformance):
    plugin = "http"
    server: Service

    @pytest.fixture
    def vmnet_environ(self, tmp_path: Path) -> Iterator[dict[str, str]]:
        with service(tmp_path) as self.server:
            yield {"VMNET_HTTP_URL": self.server.url}

    def allocated(self) -> object:
        return self.server.allocated()
