"""``python -m vmnet.running.uplinks RUN_DIR``: tell the log what has become of the uplinks.

The keeper runs this whenever a network device comes, goes or changes. Each change is one line.

A network that is connected to the container of a running VM is not the VM's before a restart. Until
then the container's own kernel would answer for its address; so its NIC is shut, by a filter that
drops all, and not by setting it down, which would have the engine's `network connect` fail.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from vmnet import log
from vmnet.errors import VmnetError
from vmnet.lifecycle import launched, uplinks
from vmnet.lifecycle.uplinks import Record
from vmnet.net import device
from vmnet.net.device import Device
from vmnet.settings import INTERFACES, value

_log = logging.getLogger(__name__)
_ROUTES = Path("/proc/self/net/route")
_REMEDY = "restart the container: it takes over the networks that it then has"


def main(run_dir: Path, environ: Mapping[str, str]) -> None:
    """:raises VmnetError: the record can't be read or written"""
    record = uplinks.load(run_dir)
    if record is None or launched.load(run_dir) is None:
        return
    devices = device.devices()
    said = {one.index: _tell(one, devices) for one in record.uplinks}
    new = list(_shut(record, devices, environ))
    changed = uplinks.with_news(record, said, new, devices)
    if changed != record:
        uplinks.save(run_dir, changed)


def _tell(uplink: uplinks.Uplink, devices: Mapping[int, Device]) -> str:
    trouble = uplinks.trouble(uplink, devices)
    if trouble and trouble != uplink.said:
        _log.error("%s", trouble, extra={"hint": _REMEDY})
    elif uplink.said and not trouble:
        _log.info("%s is back in %s, with a carrier", uplink.name, uplink.bridge)
    return trouble


def _shut(
    record: Record, devices: Mapping[int, Device], environ: Mapping[str, str]
) -> Iterator[int]:
    """The numbers of the NICs that have come."""
    for one in uplinks.newcomers(record, devices, value(environ, INTERFACES)):
        from vmnet.net import shutter

        text = f"{one.name} has come, and the VM does not have that network"
        if (obstacle := shutter.shut(one.name)) is None:
            text += ": nothing passes there"
        else:
            text += f"; the container answers there itself: {obstacle}"
        if one.name in _default_routes():
            text += ". It took the default route: names outside don't resolve by way of the bridge"
        _log.warning("%s", text, extra={"hint": _REMEDY})
        yield one.index


def _default_routes() -> set[str]:
    """The devices of IPv4 default routes (proc_net(5))."""
    lines = _ROUTES.read_text().splitlines()[1:]
    return {name for name, to, *_ in map(str.split, lines) if to == "00000000"}


if __name__ == "__main__":
    log.configure(os.environ)
    try:
        main(Path(sys.argv[1]), os.environ)
    except VmnetError as error:
        log.report(error)
