"""Take snapshots of a network namespace as plain data, to prove that it was restored."""

from __future__ import annotations

import difflib
import json
import re
from typing import Any

from ..command import run

Json = dict[str, Any]

# Flags that are configured, unlike LOWER_UP and NO-CARRIER, which depend on the other end.
_CONFIGURED_FLAGS = {"UP", "NOARP", "PROMISC", "ALLMULTI", "MULTICAST", "BROADCAST", "POINTOPOINT"}

# A snapshot contains all other keys of addresses and routes, including keys of future iproute2.
_VOLATILE_ADDRESS = {"valid_life_time", "preferred_life_time", "tentative"}
_VOLATILE_ROUTE = {"expires", "cache"}
_VOLATILE_ROUTE_FLAGS = {"linkdown", "dead", "offload", "trap"}


def take(netns: str) -> Json:
    """
    Return everything that a bridge, a filter or an address plan may change in a namespace.

    A snapshot contains no counters, lifetimes, indexes, operational state or dynamic neighbours,
    and no routes that the kernel derives from addresses in the table ``local``.
    """
    ip = ("ip", "-n", netns, "-j")
    links = run(*ip, "-d", "address", "show").json()
    return {
        "links": {link["ifname"]: _link(link) for link in links},
        "addresses": {link["ifname"]: _addresses(link) for link in links},
        "routes": [*_routes(netns, "-4"), *_routes(netns, "-6")],
        "nexthops": sorted(_nexthops(netns), key=lambda nexthop: int(nexthop["id"])),
        "rules": [
            *_list(run(*ip, "-4", "rule", "show").stdout),
            *_list(run(*ip, "-6", "rule", "show").stdout),
        ],
        "neighbours": _neighbours(netns),
        "queueing": _queueing(netns),
        "knobs": _knobs(netns),
    }


def tentative(netns: str) -> list[str]:
    """Return the IPv6 addresses for which duplicate address detection has not ended."""
    shown = run("ip", "-n", netns, "-j", "-6", "address", "show", "tentative").stdout
    return [
        address["local"]
        for link in _list(shown)
        for address in link.get("addr_info", [])
        if address and not address.get("dadfailed")
    ]


def _neighbours(netns: str) -> list[Json]:
    """Return the permanent neighbours, sorted because the kernel lists them in any order."""
    shown = run("ip", "-n", netns, "-j", "neighbour", "show", "nud", "permanent").stdout
    return sorted(_list(shown), key=lambda neighbour: (neighbour["dev"], neighbour["dst"]))


def _link(link: Json) -> Json:
    info = link.get("linkinfo", {})
    return {
        "mac": link.get("address"),
        "mtu": link["mtu"],
        "flags": sorted(_CONFIGURED_FLAGS.intersection(link["flags"])),
        "master": link.get("master"),
        "kind": info.get("info_kind"),
        "port": info.get("info_slave_data") and _port(info["info_slave_data"]),
        "txqlen": link.get("txqlen"),
        "address generation": link.get("inet6_addr_gen_mode"),
    }


def _port(port: Json) -> Json:
    """Return a bridge port's settings, without timers and identifiers."""
    return {key: value for key, value in port.items() if isinstance(value, bool)}


def _addresses(link: Json) -> list[Json]:
    """Return addresses in the kernel's order: the first address of a subnet is primary."""
    return [
        {key: value for key, value in address.items() if key not in _VOLATILE_ADDRESS}
        for address in link["addr_info"]
        if address  # iproute2 prints {} for an address that a filter hides
    ]


def _routes(netns: str, family: str) -> list[Json]:
    """Return routes. IPv4 routes keep their order: the kernel uses the first of equal routes."""
    shown = run("ip", "-n", netns, "-j", "-d", family, "route", "show", "table", "all").stdout
    routes = [
        {"family": family, **{key: route[key] for key in route.keys() - _VOLATILE_ROUTE}}
        for route in _list(shown)
        if (route.get("table"), route.get("protocol")) != ("local", "kernel")
    ]
    for route in routes:
        for hop in (route, *route.get("nexthops", ())):
            hop["flags"] = sorted(set(hop["flags"]) - _VOLATILE_ROUTE_FLAGS)
    if family == "-4":
        return sorted(routes, key=lambda route: str(route.get("table")))
    return sorted(routes, key=lambda route: json.dumps(route, sort_keys=True))


def _nexthops(netns: str) -> list[Json]:
    nexthops = _list(run("ip", "-n", netns, "-j", "nexthop", "show").stdout)
    for nexthop in nexthops:
        nexthop["flags"] = sorted(set(nexthop["flags"]) - _VOLATILE_ROUTE_FLAGS)
    return nexthops


def _queueing(netns: str) -> list[Json]:
    """Return the queueing disciplines, which include the hooks of traffic filters."""
    disciplines = _list(run("tc", "-n", netns, "-j", "qdisc", "show").stdout)
    return [
        {key: discipline.get(key) for key in ("dev", "kind", "parent")}
        for discipline in disciplines
        if discipline.get("dev")
    ]


def _knobs(netns: str) -> dict[str, str]:
    """Return the settings of each interface in /proc/sys/net, such as ``arp_ignore``."""
    roots = [f"/proc/sys/net/{family}/conf" for family in ("ipv4", "ipv6")]
    # grep fails because some sysctls cannot be read.
    shown = run("grep", "-rs", "", *roots, netns=netns, check=False).stdout
    sysctls = re.findall(r"^/proc/sys/net/(.*?):(.*)$", shown, re.MULTILINE)
    assert sysctls, f"no sysctls to read in the namespace {netns}"
    return dict(sorted(sysctls))


def _list(text: str) -> list[Json]:
    """Parse a list by iproute2, which prints nothing instead of [] for some empty lists."""
    return [item for item in json.loads(text or "[]") if item]


def require_same(before: Json, after: Json) -> None:
    """Fail with a readable difference unless two snapshots are equal."""
    old, new = (
        json.dumps(snapshot, indent=1, sort_keys=True).splitlines() for snapshot in (before, after)
    )
    changes = difflib.unified_diff(old, new, "before", "after", n=6, lineterm="")
    assert before == after, "\n".join(changes)
