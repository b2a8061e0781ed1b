"""The conformance suite: tests that check a plugin against the contract.

``pytest --vmnet-plugin NAME`` runs it on an installed plugin. If a plugin needs an environment, a
configuration file or a service, its own tests subclass the suite instead:

    class TestConformance(Conformance):
        plugin = "jsondisk"

        @pytest.fixture
        def vmnet_environ(self, server):
            return {"VMNET_JSONDISK_URL": server.url}

Each module contains the checks of a stage. A check tests a statement of docs/hooks.md, and runs
only if the plugin has a hook that it tests.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest

from vmnet.settings.core import RUN_DIR
from vmnet.testing.conformance.allocation import AllocationChecks
from vmnet.testing.conformance.applicable import has_hooks
from vmnet.testing.conformance.delivery import DeliveryChecks
from vmnet.testing.conformance.devices import DevicesChecks
from vmnet.testing.conformance.launch import LaunchChecks
from vmnet.testing.conformance.loading import LoadingChecks
from vmnet.testing.conformance.planning import PlanningChecks
from vmnet.testing.conformance.settings import SettingsChecks
from vmnet.testing.subject import Subject, load

__all__ = ["Conformance", "has_hooks"]


class Conformance(
    LoadingChecks,
    SettingsChecks,
    PlanningChecks,
    DeliveryChecks,
    DevicesChecks,
    LaunchChecks,
    AllocationChecks,
):
    """The checks. The name of a subclass must begin with ``Test``.

    :cvar plugin: the name of the plugin's entry point
    """

    plugin: ClassVar[str] = ""

    @pytest.fixture
    def vmnet_environ(self) -> dict[str, str]:
        """The variables that the plugin needs. Override this fixture if it needs any."""
        return {}

    @pytest.fixture
    def subject(
        self, vmnet_plugin_name: str, vmnet_environ: dict[str, str], tmp_path: Path
    ) -> Subject:
        return load(vmnet_plugin_name, {RUN_DIR.name: str(tmp_path / "run"), **vmnet_environ})
