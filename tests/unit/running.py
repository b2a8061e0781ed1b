"""A record of a running VM; the test's own process stands for QEMU."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from attrs import evolve

from vmnet.lifecycle import vm_record
from vmnet.lifecycle.vm_record import GuestNic, Process, VmRecord

NIC = GuestNic(
    name="eth0",
    tap="tap0",
    mac="02:42:ac:11:00:02",
    local_device="br0",
    local_mac="06:00:00:00:00:01",
    local_address="169.254.1.2",
    nameservers=(),
    addresses=("172.17.0.2",),
    confined=True,
    takes_spare=False,
    device="virtio, 2 queues, vhost",
)


def machine(run_dir: Path, **changed: Any) -> VmRecord:
    """Save the record of a VM that runs as long as this process."""
    record = VmRecord(
        hypervisor=Process.with_pid("qemu-system-x86_64", os.getpid()),
        helpers=(),
        nics=(NIC,),
        qmp=run_dir / "qmp.sock",
        console=run_dir / "console.sock",
        agent=run_dir / "agent.sock",
    )
    record = evolve(record, **changed)
    vm_record.save(run_dir, record)
    return record
