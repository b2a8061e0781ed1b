"""Helpers of the checks: select those that apply to a plugin, and plan with readable errors."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from vmnet.errors import VmnetError
from vmnet.model.delivery import Delivery
from vmnet.model.identity import Identity
from vmnet.testing.subject import Plan, Subject

PLANNING = (
    "vmnet_ipam_requirements",
    "vmnet_ipam_deliver",
    "vmnet_forwarder",
    "vmnet_devices",
    "vmnet_launch_command",
    "vmnet_ipam_status",
)
DELIVERING = ("vmnet_ipam_deliver", "vmnet_forwarder")


def needs(*hooks: str) -> pytest.MarkDecorator:
    """Restrict a check to plugins that implement any of these hooks."""
    return pytest.mark.vmnet_hooks(*hooks)


def plan_for(subject: Subject, name: str, identity: Identity) -> Plan | None:
    """Return the plan; None if the plugin refuses the identity with a readable error."""
    try:
        return subject.plan(identity)
    except VmnetError as error:
        require_readable(error, name)
        return None


def require_readable(error: VmnetError, name: str) -> None:
    """Fail unless the plugin raised the error itself, with a message and a hint of one line."""
    if error.__cause__ is not None or type(error).__name__ == "PluginError":
        pytest.fail(f"{name}: {error.message}")
    for part, text in (("message", error.message), ("hint", error.hint)):
        assert text.strip(), f"{name}: {error!r} has no {part}"
        assert text.isprintable(), f"{name}: the {part} {text!r} is not one line"


def deliveries(subject: Subject, identities: dict[str, Identity]) -> Iterator[tuple[str, Delivery]]:
    for name, identity in identities.items():
        plan = plan_for(subject, name, identity)
        yield from ((name, delivery) for delivery in (plan.deliveries if plan else ()))


def require_below(run_dir: Path, path: Path, name: str) -> None:
    normal = Path(os.path.normpath(path))
    assert run_dir in normal.parents, f"{name}: {path} is not below the run directory"
