"""The guest's search domains, and the domain of links and added hosts. Pure functions.

systemd-resolved asks no nameserver for a single-label name. So dnsmasq serves links and added hosts
also in a separate domain, which is searched first, as a hosts file is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from vmnet.api import Host, Identity, is_domain, is_label

LINKS_DOMAIN = "links.internal"
"""The domain of links and added hosts; ICANN reserved ``internal`` for private use."""


def search_domains(identity: Identity, *, serves_hosts: bool) -> tuple[str, ...]:
    """Return the search domains in their order."""
    own = tuple(filter(is_domain, identity.resolver.search))
    return (LINKS_DOMAIN, *own) if serves_hosts and any(_labels(identity.hosts)) else own


def served(host: Host) -> tuple[str, ...]:
    """Return the names under which dnsmasq serves a host.

    They are in lower case: dnsmasq passes names with capitals through IDNA, which refuses some.
    """
    lowered = tuple(name.lower() for name in host.names)
    return (*lowered, *(f"{name}.{LINKS_DOMAIN}" for name in lowered if is_label(name)))


def is_original(name: str) -> bool:
    """Whether a served name is the container's, not derived from it by :func:`served`."""
    return not name.endswith(f".{LINKS_DOMAIN}")


def _labels(hosts: Iterable[Host]) -> Iterator[str]:
    return (name for host in hosts for name in host.names if is_label(name))
