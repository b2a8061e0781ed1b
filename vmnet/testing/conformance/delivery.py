"""Checks of deliveries, by the IPAM stage and by the forwarder stage."""

from __future__ import annotations

import os
from pathlib import Path

from vmnet.model.delivery import Delivery
from vmnet.model.serial import from_json, to_json
from vmnet.settings.core import RUN_DIR
from vmnet.testing import samples
from vmnet.testing.conformance.checks import DELIVERING, deliveries, needs, plan_for, require_below
from vmnet.testing.subject import Subject


class DeliveryChecks:
    @needs(*DELIVERING)
    def test_it_returns_a_delivery(self, subject: Subject) -> None:
        """A start refuses None, as from a forgotten return."""
        for name, identity in samples.PLAIN.items():
            plan = plan_for(subject, name, identity)
            if plan is None:
                continue
            for hook, delivery in zip(DELIVERING, (plan.delivery, plan.forwarder), strict=True):
                if subject.implements(hook):
                    assert delivery is not None, f"{name}: {hook} returns None"

    @needs(*DELIVERING)
    def test_a_delivery_survives_json(self, subject: Subject) -> None:
        """The field types are right, because `vmnet plan --json` prints the delivery."""
        for name, delivery in deliveries(subject, samples.PLAIN):
            assert from_json(to_json(delivery), Delivery) == delivery, name

    @needs(*DELIVERING)
    def test_its_files_are_in_the_run_directory(self, subject: Subject) -> None:
        """Each path occurs once, and only the owner may write to it, even with hostile names."""
        run_dir = subject.settings[RUN_DIR]
        for name, delivery in deliveries(subject, {**samples.PLAIN, **samples.HOSTILE}):
            paths = [file.path for file in delivery.files]
            assert len(set(paths)) == len(paths), f"{name}: a file occurs twice in {paths}"
            for file in delivery.files:
                require_below(run_dir, file.path, name)
                assert not file.mode & 0o022, f"{name}: group or others may write {file.path}"
            for daemon in delivery.daemons:
                require_below(run_dir, daemon.pidfile, name)
                if daemon.log is not None:
                    require_below(run_dir, daemon.log, name)

    @needs(*DELIVERING)
    def test_its_daemons_can_be_executed(self, subject: Subject) -> None:
        for name, delivery in deliveries(subject, samples.PLAIN):
            for daemon in delivery.daemons:
                program = daemon.argv[0]
                assert Path(program).is_absolute(), f"{name}: {program} is not an absolute path"
                assert os.access(program, os.X_OK), f"{name}: {program} cannot be executed"

    @needs(*DELIVERING)
    def test_not_carried_has_one_line_for_each_part(self, subject: Subject) -> None:
        """Each part is one line, because vmnet logs it; the delivery names its strategy."""
        for name, delivery in deliveries(subject, {**samples.PLAIN, **samples.HOSTILE}):
            assert delivery.strategy, f"{name}: the delivery names no strategy"
            for line in delivery.not_carried:
                assert line.strip(), f"{name}: an empty line in not_carried"
                assert line.isprintable(), f"{name}: {line!r} is not one line of printable text"
