"""Containment: DHCP and router messages stay on this side of the uplinks.

While we answer the guest's DHCP ourselves, its requests must not leave, where another server might
answer first, and strangers' requests must not reach our server. Each uplink gets a filter in both
directions.
"""

from __future__ import annotations

from vmnet.net import cbpf, rtnl
from vmnet.net.cbpf import JEQ, JSET, LDB, LDH, LDH_X, LDX_HEADER, RET, SHOT, UNSPEC, Program

_MESSAGES: Program = {
    "start": [
        (LDH, 12, "", ""),  # EtherType
        (JEQ, 0x0800, "ipv4", ""),
        (JEQ, 0x86DD, "ipv6", "pass"),
    ],
    "ipv4": [
        (LDB, 23, "", ""),  # protocol
        (JEQ, 17, "", "pass"),
        (LDH, 20, "", ""),  # a later fragment has no ports
        (JSET, 0x1FFF, "pass", ""),
        (LDX_HEADER, 14, "", ""),
        (LDH_X, 16, "", ""),  # destination port: DHCP's server or client
        (JEQ, 67, "drop", ""),
        (JEQ, 68, "drop", "pass"),
    ],
    "ipv6": [
        (LDB, 20, "", ""),  # next header
        (JEQ, 58, "icmpv6", ""),
        (JEQ, 17, "", "pass"),
        (LDH, 56, "", ""),  # destination port: DHCPv6's client or server
        (JEQ, 546, "drop", ""),
        (JEQ, 547, "drop", "pass"),
    ],
    "icmpv6": [
        (LDB, 54, "", ""),  # type: router solicitation or advertisement
        (JEQ, 133, "drop", ""),
        (JEQ, 134, "drop", "pass"),
    ],
    "pass": [(RET, UNSPEC, "", "")],
    "drop": [(RET, SHOT, "", "")],
}


def contain(kernel: rtnl.Rtnl, uplink: str) -> bool:
    """Filter an uplink in both directions; answer whether this kernel can.

    :raises vmnet.net.rtnl.RtnlError: the kernel refused
    """
    return cbpf.attach(kernel, uplink, _MESSAGES, (cbpf.INGRESS, cbpf.EGRESS))


def remove(kernel: rtnl.Rtnl, uplink: str) -> None:
    """Take the filter away again; there may be none.

    :raises vmnet.net.rtnl.RtnlError: the kernel refused
    """
    cbpf.detach(kernel, uplink)
