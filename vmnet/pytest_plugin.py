"""The pytest plugin: ``--vmnet-plugin NAME``, and fixtures for the tests of plugins.

pytest loads this module wherever vmnet is installed, so it imports the test kit only when needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from vmnet.testing.namespace import Container

_SELECTED = Path(__file__).with_name("testing") / "selected.py"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("vmnet")
    group.addoption(
        "--vmnet-plugin",
        action="append",
        default=[],
        metavar="NAME",
        help="run vmnet's conformance suite on the installed plugin NAME",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "vmnet_hooks(*names): a check for plugins that implement any of these hooks"
    )
    pytest.register_assert_rewrite("vmnet.testing.conformance")
    if config.getoption("vmnet_plugin"):
        config.args.append(str(_SELECTED))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "vmnet_plugin_name" not in metafunc.fixturenames:
        return
    named = getattr(metafunc.cls, "plugin", "")
    names = [named] if named else metafunc.config.getoption("vmnet_plugin")
    metafunc.parametrize("vmnet_plugin_name", names)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the checks of hooks that a plugin does not implement."""
    deselected = [item for item in items if not _applies_to_plugin(item)]
    if deselected:
        config.hook.pytest_deselected(items=deselected)
        items[:] = [item for item in items if item not in deselected]


def _applies_to_plugin(item: pytest.Item) -> bool:
    mark = item.get_closest_marker("vmnet_hooks")
    if mark is None or not isinstance(item, pytest.Function):
        return True
    from vmnet.testing import conformance

    return conformance.has_hooks(str(item.callspec.params["vmnet_plugin_name"]), mark.args)


@pytest.fixture
def vmnet_container() -> Iterator[Container]:
    """A network namespace with an eth0 like a container's, and a router; needs root."""
    from vmnet.testing import namespace

    with namespace.container() as container:
        yield container
