"""The demonstration Linux with the real qemu-guest-agent."""

from __future__ import annotations

import tempfile
from pathlib import Path

from .initrd import appended, program

_AGENT = Path("/usr/sbin/qemu-ga")
# busybox has no udev, which would give the port the path of its name.
_START = """\
#!/bin/sh
for port in /sys/class/virtio-ports/*; do
    [ "$(cat "$port/name")" = org.qemu.guest_agent.0 ] &&
        exec /usr/sbin/qemu-ga --method=virtio-serial --path="/dev/${port##*/}" --statedir=/run
done
exec sleep 1
"""
_INITTAB = """\
::sysinit:/etc/rc
::wait:/etc/network
::respawn:/bin/start-agent
::respawn:/bin/cttyhack /etc/console
::ctrlaltdel:/sbin/reboot
::shutdown:/bin/umount -a -r 2>/dev/null
"""


def with_agent(initrd: Path, to: Path) -> Path:
    """Write a copy of the demonstration Linux's initrd that runs the agent of this machine."""
    with tempfile.TemporaryDirectory(prefix="vmt-agent-") as name:
        start, inittab = Path(name, "start"), Path(name, "inittab")
        start.write_text(_START)
        start.chmod(0o755)
        inittab.write_text(_INITTAB)
        own = {"/bin/start-agent": start, "/etc/inittab": inittab}
        return appended(initrd, {**program(_AGENT), **own}, to)
