"""Checks of all planning hooks: results, effects, and hostile names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO

import pytest

from vmnet.model.delivery import Handover
from vmnet.model.devices import Device
from vmnet.model.serial import to_json
from vmnet.settings.core import RUN_DIR
from vmnet.testing import namespace, samples, watch
from vmnet.testing.conformance.checks import PLANNING, needs, plan_for
from vmnet.testing.subject import Plan, Subject

# At the start of the text or after a line end, in ASCII or Unicode (U+0085, U+2028, U+2029).
_INJECTED_LINE = re.compile(
    rb"(?:\A|[\n\r\0\v\f]|\xc2\x85|\xe2\x80[\xa8\xa9])" + re.escape(samples.CANARY.encode())
)


class PlanningChecks:
    @needs(*PLANNING)
    def test_it_plans_every_network(self, subject: Subject) -> None:
        """The results have the right types; a refusal is a VmnetError."""
        for name, identity in samples.PLAIN.items():
            plan = plan_for(subject, name, identity)
            if plan is None:
                assert identity != samples.USUAL, "it refuses a container of docker run"
            for device in (plan.devices or ()) if plan else ():
                assert isinstance(device, Device), f"{name}: a device is {device!r}"
            for handover in (plan.status or ()) if plan else ():
                assert isinstance(handover, Handover), f"{name}: a handover is {handover!r}"
                assert handover.detail.isprintable(), f"{name}: {handover.detail!r} is not one line"

    @needs(*PLANNING)
    def test_planning_has_no_effects(self, subject: Subject) -> None:
        """Planning writes, starts, changes and prints nothing, as `vmnet plan` requires."""
        run_dir = subject.settings[RUN_DIR]
        for name, identity in samples.PLAIN.items():
            output = StringIO()
            with watch.effects() as effects, redirect_stdout(output), redirect_stderr(output):
                plan_for(subject, name, identity)
            assert not effects, f"{name}: planning {'; '.join(effects)}"
            assert not output.getvalue(), f"{name}: planning prints {output.getvalue()!r}"
        assert not run_dir.exists(), f"planning creates {run_dir}"

    @needs(*PLANNING)
    @pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace needs root")
    def test_planning_changes_nothing_on_the_network(self, subject: Subject) -> None:
        with namespace.container() as container:
            before = container.state()
            with container.entered():
                plan_for(subject, "", samples.USUAL)
            assert container.state() == before, "planning changes the container's network"

    @needs(*PLANNING)
    def test_planning_is_deterministic(self, subject: Subject) -> None:
        """A second call returns the same, so `vmnet plan` shows what a start will do."""
        for name, identity in samples.PLAIN.items():
            first, second = (plan_for(subject, name, identity) for _ in range(2))
            assert first == second, f"{name}: the second result differs"

    @needs(*PLANNING)
    def test_planning_does_not_change_its_arguments(self, subject: Subject) -> None:
        """The data classes are frozen, but not the objects in them."""
        for name, identity in samples.PLAIN.items():
            before = to_json(identity)
            plan_for(subject, name, identity)
            assert to_json(identity) == before, f"{name}: planning changes the identity"

    @needs(*PLANNING)
    def test_hostile_names_inject_nothing(self, subject: Subject) -> None:
        """They are refused, left out or quoted, but never begin a line of a file or argument."""
        for name, identity in samples.HOSTILE.items():
            plan = plan_for(subject, name, identity)
            for place, content in _rendered(plan):
                assert not _INJECTED_LINE.search(content), f"{name}: injects a line in {place}"
                assert samples.EVALUATED.encode() not in content, f"{name}: {place} is a template"
            for delivery in plan.deliveries if plan else ():
                for daemon in delivery.daemons:
                    assert "\0" not in "".join(daemon.argv), f"{name}: a NUL in {daemon.argv}"


def _rendered(plan: Plan | None) -> Iterator[tuple[str, bytes]]:
    """Return everything that other programs will read, with its place."""
    for delivery in plan.deliveries if plan else ():
        yield from ((str(file.path), file.content) for file in delivery.files)
        for daemon in delivery.daemons:
            for argument in daemon.argv:
                yield f"an argument of {daemon.name}", argument.encode()
