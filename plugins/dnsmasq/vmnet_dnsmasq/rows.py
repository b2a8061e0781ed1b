"""The settings of this plugin."""

from __future__ import annotations

from typing import Any

from vmnet.api import NO_DHCP, Setting, optional
from vmnet_dnsmasq import boot_url

BOOT_URL = optional(
    "VMNET_BOOT_URL",
    boot_url.parse,
    "what a guest that boots from the network loads, such as tftp://192.0.2.1/boot.ipxe",
    unless=(NO_DHCP,),
)

ROWS: tuple[Setting[Any], ...] = (BOOT_URL,)
