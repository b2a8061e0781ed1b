"""Turn VMNET_BOOT_URL into what DHCP says to a guest that boots from the network."""

from __future__ import annotations

from ipaddress import IPv4Address

from vmnet.api import BOOT, Settings, frozen
from vmnet_dnsmasq.options import Option, quoted
from vmnet_dnsmasq.rows import BOOT_URL


@frozen
class BootFile:
    """The fields for a boot file in the header of a DHCP packet (RFC 2131).

    :param name: a path on the server, or a URL, which iPXE can read
    :param server: the TFTP server; None with a URL
    """

    name: str
    server: IPv4Address | None

    def line(self, tag: str) -> str:
        """Return the line of dnsmasq.conf for the leases with a tag."""
        server = f",,{self.server}" if self.server else ""
        return f"dhcp-boot={tag},{quoted(self.name)}{server}"

    @property
    def option(self) -> Option:
        """The option in which a client can request the name."""
        return Option("option:bootfile-name", quoted(self.name), len(self.name), "boot file")


def of(settings: Settings) -> BootFile | None:
    """Return the boot file that the settings name.

    Every boot program can load a file from a TFTP server that is given by its address. Other URLs
    need iPXE, as QEMU has it.
    """
    url = settings[BOOT_URL]
    if url is None:
        return None
    try:
        server = IPv4Address(url.host)
    except ValueError:
        return BootFile(url.text, None)
    return BootFile(url.path, server) if url.scheme == "tftp" else BootFile(url.text, None)


def not_carried(settings: Settings) -> tuple[str, ...]:
    """Return a line if the machine's own boot program never asks for the file that is named."""
    if settings[BOOT_URL] is None or "network" in settings[BOOT]:
        return ()
    return (
        f"{BOOT_URL.name}: without network in {BOOT.name}, only a boot program of the guest's own "
        "asks for it",
    )
