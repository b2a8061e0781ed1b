"""Checks of the launch stage."""

from __future__ import annotations

from pathlib import Path

from vmnet.settings.core import RUN_DIR
from vmnet.testing import samples
from vmnet.testing.conformance.checks import needs, plan_for, require_below
from vmnet.testing.subject import Subject


class LaunchChecks:
    @needs("vmnet_launch_command")
    def test_its_command_can_be_executed(self, subject: Subject) -> None:
        plan = plan_for(subject, "", samples.USUAL)
        assert plan is not None
        assert plan.command is not None
        program = plan.command.argv[0]
        assert Path(program).is_absolute(), f"{program} is not an absolute path"
        for path in (plan.command.qmp, plan.command.guard):
            if path is not None:
                require_below(subject.settings[RUN_DIR], path, "the command")
