"""Log how the uplinks of a running VM have changed.

The keeper runs :func:`main` when a network device is added, removed or changed. Each change is one
line.

The VM gets a network that is connected to its running container only at the next start. Until then
the container's own kernel would answer for the network's address. So vmnet blocks the new NIC by a
filter that drops every frame. Setting the NIC down instead would make the engine's `network
connect` fail.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from vmnet.lifecycle import uplink_record, vm_record
from vmnet.lifecycle.uplink_record import UplinkRecord
from vmnet.net import device
from vmnet.net.device import Device
from vmnet.settings.core import INTERFACES
from vmnet.settings.table import value
from vmnet.supervision import program_log

_log = logging.getLogger(__name__)
_ROUTES = Path("/proc/self/net/route")
_REMEDY = "restart the container: vmnet takes over its networks at each start"


def main(run_dir: str) -> None:
    """Log the changes: the program that the keeper runs."""
    with program_log.logged():
        log_changes(Path(run_dir), os.environ)


def log_changes(run_dir: Path, environ: Mapping[str, str]) -> None:
    """Log the changes since the last call, and block new NICs.

    :raises VmnetError: the record can't be read or written
    """
    record = uplink_record.load(run_dir)
    if record is None or vm_record.load(run_dir) is None:
        return
    devices = device.devices()
    troubles = {uplink.index: _log_change(uplink, devices) for uplink in record.uplinks}
    new = list(_shut_added_nics(record, devices, environ))
    changed = uplink_record.with_news(record, troubles, new, devices)
    if changed != record:
        uplink_record.save(run_dir, changed)


def _log_change(uplink: uplink_record.Uplink, devices: Mapping[int, Device]) -> str:
    """Log a change of an uplink's trouble, and return the trouble."""
    trouble = uplink_record.trouble(uplink, devices)
    if trouble and trouble != uplink.logged:
        _log.error("%s", trouble, extra={"hint": _REMEDY})
    elif uplink.logged and not trouble:
        where = f" in {uplink.bridge}" if uplink.bridge else ""
        _log.info("%s is back%s, with a carrier", uplink.name, where)
    return trouble


def _shut_added_nics(
    record: UplinkRecord, devices: Mapping[int, Device], environ: Mapping[str, str]
) -> Iterator[int]:
    """Block the NICs that were added, and yield their indexes."""
    for nic in uplink_record.added_nics(record, devices, value(environ, INTERFACES)):
        from vmnet.net.filters import drop_all

        text = f"{nic.name} was added, but the VM is not on that network"
        if (obstacle := drop_all.shut(nic.name)) is None:
            text += ": vmnet blocks it"
        else:
            text += f"; the container itself answers there: {obstacle}"
        if nic.name in _default_routes():
            text += ". It took the default route: names outside don't resolve through the bridge"
        _log.warning("%s", text, extra={"hint": _REMEDY})
        yield nic.index


def _default_routes() -> set[str]:
    """Return the devices of IPv4 default routes (proc_net(5))."""
    lines = _ROUTES.read_text().splitlines()[1:]
    return {name for name, to, *_ in map(str.split, lines) if to == "00000000"}
