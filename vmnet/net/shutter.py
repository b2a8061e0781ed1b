"""Shut a device: everything that comes in or goes out is dropped, and its settings stay."""

from __future__ import annotations

import logging

from vmnet.net import cbpf, rtnl
from vmnet.net.cbpf import RET, SHOT, Program

_log = logging.getLogger(__name__)
_NOTHING: Program = {"start": [(RET, SHOT, "", "")]}


def shut(device: str) -> str | None:
    """Shut a device; why that can't be done, None where it is."""
    try:
        with rtnl.Rtnl() as kernel:
            if cbpf.attach(kernel, device, {cbpf.INGRESS: _NOTHING, cbpf.EGRESS: _NOTHING}):
                return None
            return "the kernel has no clsact or cls_bpf"
    except OSError as error:
        return str(error.strerror or error)


def reopen(indexes: tuple[int, ...]) -> None:
    """Open the devices of these numbers again, as far as they are there."""
    with rtnl.Rtnl() as kernel:
        for index in indexes:
            try:
                name = kernel.link(index).get_attr("IFLA_IFNAME")
                cbpf.detach(kernel, name)
            except OSError as error:
                _log.debug("device %s stays as it is: %s", index, error)
