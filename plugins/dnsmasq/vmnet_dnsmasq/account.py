"""The user and group that dnsmasq runs as."""

from __future__ import annotations

import grp
import pwd

from vmnet.api import capabilities

_NAME = "dnsmasq"  # the user that distributions create for it


def options() -> tuple[str, ...]:
    """Return the options of dnsmasq(8) that set its user and group.

    By default, dnsmasq becomes the user nobody, which other programs may also use. It
    exits if it can't change to that user, so without the capabilities for this it stays root.
    """
    if not capabilities.can_run_as_another_user():
        return "--user=root", "--group="
    try:
        user = pwd.getpwnam(_NAME)
        return f"--user={_NAME}", f"--group={grp.getgrgid(user.pw_gid).gr_name}"
    except KeyError:  # no such user or group
        return ()
