"""The strategy keeps to the rules for all plugins, with the real server to ask."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from vmnet_ipam_http import vmnet_settings

from tests.lab.ipam_http import Service, service
from vmnet.testing.conformance import Conformance
from vmnet.testing.subject import Subject


class TestConformance(Conformance):
    plugin = "http"
    server: Service

    @pytest.fixture
    def vmnet_environ(self, tmp_path: Path) -> Iterator[dict[str, str]]:
        with service(tmp_path) as self.server:
            yield {"VMNET_IPAM_HTTP_URL": self.server.url}

    def allocated(self) -> object:
        return self.server.allocated()

    def test_its_settings_carry_its_name(self, subject: Subject) -> None:
        """That of its distribution: of the plugin's, which is ``http``, others may think too."""
        assert all(row.name.startswith("VMNET_IPAM_HTTP_") for row in vmnet_settings())
