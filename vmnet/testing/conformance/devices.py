"""Checks of the devices stage."""

from __future__ import annotations

from vmnet.model.devices import Cdrom, Disk
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
            images = [device for device in plan.devices or () if isinstance(device, Disk | Cdrom)]
            for image in images:
                assert image.path in delivered or image.path.exists(), (
                    f"{name}: {image.path} does not exist and is not delivered"
                )
