"""Parse the address of the file that a guest loads from the network."""

from __future__ import annotations

import re
from typing import NamedTuple

_LONGEST = 127  # bytes of the field of a DHCP packet, without the final NUL (RFC 2131)
_URL = re.compile(r"(tftp|https?)://([A-Za-z0-9.:\[\]_-]+)/([!-~]+)", re.ASCII)


class BootUrl(NamedTuple):
    """A URL, and its parts."""

    text: str
    scheme: str
    host: str
    path: str


def parse(value: str) -> BootUrl:
    """Parse a URL of TFTP, HTTP or HTTPS.

    :raises ValueError: DHCP can't carry it
    """
    match = _URL.fullmatch(value)
    if match is None or len(value) > _LONGEST or '"' in value or "\\" in value:
        raise ValueError(
            f"a URL such as tftp://192.0.2.1/boot.ipxe or http://boot.example/boot.ipxe, of at "
            f"most {_LONGEST} characters"
        )
    return BootUrl(value, match[1], match[2], match[3])
