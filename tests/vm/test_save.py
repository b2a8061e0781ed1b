"""`vmnet stop --save`: the next start resumes the guest, whose memory and disk belong together."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.command import run
from tests.lab.images.bootable import convert
from tests.lab.net.lan import Lan
from tests.lab.net.pinging import await_answer
from tests.lab.wait import WAIT
from tests.vm.agent_guest import Inside, settings
from tests.vm.conftest import DemoVm, Guest

pytestmark = [pytest.mark.vm, pytest.mark.long]

CYCLES = 3
# Writes files with their checksums without end, and counts in memory and on the disk.
_WRITE = """\
mkdir /mnt; mount -t ext4 /dev/vda /mnt
cat >/tmp/loop <<'END'
i=0
while :; do
    i=$((i + 1))
    n=$((i % 8))
    dd if=/dev/urandom of=/mnt/file.$n bs=4k count=16 2>/dev/null
    (cd /mnt && md5sum file.$n >sum.$n)
    echo $i >/mnt/count.new && mv /mnt/count.new /mnt/count
    [ $n -ne 0 ] || sync
done
END
sh /tmp/loop >/dev/null 2>&1 &
echo $! >/tmp/pid
while [ ! -e /mnt/sum.0 ]; do sleep 1; done
"""
# All files are as their checksums, except the one that is being written.
_CHECK = """\
kill -STOP $(cat /tmp/pid); sync; echo 3 >/proc/sys/vm/drop_caches
cd /mnt; count=$(cat count); written=sum.$(((count + 1) % 8))
for sum in sum.*; do [ $sum = $written ] || md5sum -c -s $sum || exit; done
echo $count; kill -CONT $(cat /tmp/pid)
"""


def ended(guest: Guest, inside: Inside) -> None:
    saved = inside("stop", "--save")
    assert "the next start resumes it" in saved.stdout, saved.stderr
    assert guest.process.wait(WAIT) == 0


def test_a_saved_guest_is_resumed(network: Lan, machine: DemoVm, tmp_path: Path) -> None:
    run("mkfs.ext4", "-q", tmp_path / "disk.raw", "64M")
    disk = convert(tmp_path / "disk.raw", tmp_path / "disk.qcow2", "qcow2")
    own = {**settings(machine, tmp_path), "VMNET_DISK": str(disk)}
    web, station = network.container("web"), network.station()
    with machine.booted(web, **own) as guest:
        inside = Inside(guest, machine)
        guest.says(f"vmnet-guest: eth0 {web.address}/24")
        inside.await_agent()
        inside.shell(_WRITE)
        ended(guest, inside)
    count = 0
    for _ in range(CYCLES):
        with machine.booted(web, **own) as guest:
            inside = Inside(guest, machine)
            guest.says("the guest is resumed as it was saved")
            before, count = count, int(inside.shell(_CHECK))
            assert count > before
            inside.await_clock()
            await_answer(station, web.address)
            assert inside("snapshot", "list", "--json").json() == []
            ended(guest, inside)

    with machine.booted(web, **own, VMNET_CPUS="2") as guest:
        output = guest.says(f"vmnet-guest: eth0 {web.address}/24")
        assert "is not resumed as it was saved: these options of QEMU differ: -smp" in output
        (kept,) = Inside(guest, machine)("snapshot", "list", "--json").json()
        assert kept["name"] == "vmnet-saved"
    run("qemu-img", "check", "-q", disk)
