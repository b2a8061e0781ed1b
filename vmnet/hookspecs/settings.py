"""Settings: the environment variables that plugins read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vmnet.hookspecs.markers import hookspec
from vmnet.settings.table import Setting


@hookspec
def vmnet_settings() -> Sequence[Setting[Any]]:
    """Declare the variables this plugin reads.

    Called for every installed plugin, selected or not, before the environment is parsed. vmnet
    refuses variables that no plugin declares.

    :return: rows created with ``vmnet.api.setting`` or ``optional``, named ``VMNET_…``; from a
        bridge strategy, also the rows of the core with ``by_bridge`` that it carries out
    """
