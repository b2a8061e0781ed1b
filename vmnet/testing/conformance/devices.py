"""Checks of the devices stage."""

from __future__ import annotations

from vmnet.testing import samples
from vmnet.testing.conformance.checks import needs, plan_for
from vmnet.testing.subject import Subject


class DevicesChecks:
    @needs("vmnet_devices")
    def test_the_files_of_its_devices_exist_or_are_delivered(self, subject: Subject) -> None:
        for name, identity in samples.PLAIN.items():
            plan = plan_for(subject, name, identity)
            if plan is None:
                continue
            delivered = {file.path for delivery in plan.deliveries for file in delivery.files}
            for device in plan.devices or ():
                assert device.path in delivered or device.path.exists(), (
                    f"{name}: {device.path} does not exist and is not delivered"
                )
