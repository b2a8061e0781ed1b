"""The leases that the guest has taken, from dnsmasq's lease file."""

from __future__ import annotations

from collections.abc import Container, Iterator
from pathlib import Path

from vmnet.api import Handover, Identity, Wiring
from vmnet_dnsmasq.config import Paths


def handovers(run_dir: Path, identity: Identity, wiring: Wiring) -> tuple[Handover, ...]:
    """Return whether each NIC that dnsmasq serves has its lease."""
    return tuple(_handovers(taken(Paths.below(run_dir).leases), identity, wiring))


def taken(path: Path) -> dict[str, str]:
    """Return the leased addresses by MAC.

    A line contains expiry, MAC, address, name and client identifier.
    """
    if not path.exists():
        return {}
    lines = (line.split() for line in path.read_text(errors="replace").splitlines())
    return {words[1]: words[2] for words in lines if len(words) >= 3}


def kept(paths: Paths, macs: Container[str]) -> bytes:
    """Return the leases that a running dnsmasq must keep when it gets a new configuration.

    A lease of a NIC that is gone would block its address. At a start, all leases are of an earlier
    guest.
    """
    if not is_running(paths.pidfile):
        return b""
    lines = paths.leases.read_bytes().splitlines(keepends=True)
    return b"".join(
        line for line in lines if len(line.split()) < 3 or line.split()[1].decode() in macs
    )


def is_running(pidfile: Path) -> bool:
    """Return whether dnsmasq runs."""
    try:
        return Path(f"/proc/{int(pidfile.read_text())}/comm").read_text() == "dnsmasq\n"
    except (OSError, ValueError):
        return False


def _handovers(leases: dict[str, str], identity: Identity, wiring: Wiring) -> Iterator[Handover]:
    for interface, port in wiring.pairs(identity):
        if port.local is None:
            yield Handover(interface.name, None, "the link itself serves the guest")
        if not wiring.contain or port.local is None:
            continue
        if interface.ipv4:
            address = leases.get(port.guest_mac)
            text = f"DHCP: {address} is leased" if address else "DHCP: the guest has no lease yet"
            yield Handover(interface.name, address is not None, text)
        if interface.ipv6:
            yield Handover(interface.name, None, "DHCPv6: leases are not recorded")
