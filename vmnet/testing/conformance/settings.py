"""Checks of the settings stage: names, help, defaults and parsers."""

from __future__ import annotations

import re
from typing import Any

import pytest

from vmnet.settings import core
from vmnet.settings.table import Setting
from vmnet.testing.conformance.checks import needs
from vmnet.testing.subject import Subject

# The plugins of this distribution need no prefix of their own for their settings.
_OWN_DISTRIBUTION = "vmnet-entrypoint"
_ODD_VALUES = ("\n", "\0", "'", "é", "-1", "/", "{{", "a,a", ",", "9" * 5000, "\u2028", "%s")


class SettingsChecks:
    @needs("vmnet_settings")
    def test_its_settings_begin_with_its_name(self, subject: Subject) -> None:
        if subject.plugin.distribution == _OWN_DISTRIBUTION:
            return
        prefix = "VMNET_" + re.sub(r"[^A-Z0-9]", "_", subject.plugin.name.upper())
        for row in _rows(subject):
            assert row.name == prefix or row.name.startswith(f"{prefix}_"), (
                f"{row.name} does not begin with {prefix}_, so two plugins may collide"
            )

    @needs("vmnet_settings")
    def test_its_settings_have_help_and_a_valid_default(self, subject: Subject) -> None:
        """The help is one line, and the parser accepts the default."""
        for row in _rows(subject):
            assert row.help.strip(), f"{row.name} has no help"
            assert row.help.isprintable(), f"the help of {row.name} is more than one line"
            if row.default:
                row.parse(row.default)

    @needs("vmnet_settings")
    def test_a_wrong_value_is_a_value_error(self, subject: Subject) -> None:
        """vmnet converts only ValueError to an error that names the variable."""
        for row in _rows(subject):
            for value in _ODD_VALUES:
                try:
                    row.parse(value)
                except ValueError as error:
                    if not str(error):
                        pytest.fail(f"{row.name}={value!r}: the error has no message")
                except Exception as error:
                    cause = error.__cause__ or error
                    pytest.fail(f"{row.name}={value!r}: its parser raises {cause!r}")


def _rows(subject: Subject) -> tuple[Setting[Any], ...]:
    names = {row.name for row in core.CORE}
    return tuple(row for row in subject.settings if row.name not in names)
