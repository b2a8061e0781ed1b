"""The kernel's settings that limit passt, which has no privileges."""

from __future__ import annotations

from pathlib import Path

from vmnet.api import engine

_IPV4 = Path("/proc/sys/net/ipv4")


def ping_groups() -> tuple[int, int]:
    """Return the lowest and the highest group that may send pings (icmp(7))."""
    lowest, highest = map(int, (_IPV4 / "ping_group_range").read_text().split())
    return lowest, highest


def first_port() -> int:
    """Return the first port that needs no privilege: passt has none."""
    return int((_IPV4 / "ip_unprivileged_port_start").read_text())


def allow_ports() -> str:
    """Return how to allow privileged ports to all programs."""
    sysctl = "net.ipv4.ip_unprivileged_port_start"
    if engine.name() == "kubernetes":
        return (
            f'set it in the pod: `securityContext: {{sysctls: [{{name: {sysctl}, value: "0"}}]}}`'
        )
    return f"run the container with `--sysctl {sysctl}=0`"
