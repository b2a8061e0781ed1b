"""The filter that shuts a network device: drops all frames, and leaves the settings as they are."""

from __future__ import annotations

import logging

from vmnet.net import device, rtnl
from vmnet.net.filters import attached, cbpf, clsact
from vmnet.net.filters.matching import DROP

_log = logging.getLogger(__name__)
_PROGRAM: cbpf.Program = {"start": [DROP]}
_DROP_ALL: list[clsact.Step] = [_PROGRAM]


def shut(device: str) -> str | None:
    """Shut a device; return None, or the reason why the kernel cannot."""
    try:
        with rtnl.Rtnl() as kernel:
            if clsact.attach(kernel, device, {clsact.INGRESS: _DROP_ALL, clsact.EGRESS: _DROP_ALL}):
                return None
            return "the kernel lacks clsact or cls_bpf"
    except OSError as error:
        return str(error.strerror or error)


def find() -> tuple[int, ...]:
    """Return the indexes of the devices that are shut.

    :raises OSError: the kernel refused
    """
    shut = cbpf.assemble(_PROGRAM)
    return tuple(index for index in device.devices() if attached.programs(index) == [shut])


def reopen(indexes: tuple[int, ...]) -> None:
    """Reopen the devices with these indexes that still exist."""
    with rtnl.Rtnl() as kernel:
        for index in indexes:
            try:
                name = kernel.link(index).get_attr("IFLA_IFNAME")
                clsact.detach(kernel, name)
            except OSError as error:
                _log.debug("cannot reopen the device with index %s: %s", index, error)
