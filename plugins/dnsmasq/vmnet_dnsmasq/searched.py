"""The guest's search list, and the names of one label that no other nameserver knows.

systemd-resolved asks no nameserver for a name of one label. So links and added hosts are served in
a domain of their own as well, which comes first, as a hosts file does. Pure functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from vmnet.identity import Host, Identity
from vmnet.names import is_domain, is_label

DOMAIN = "links.internal"
"""Of links and added hosts; ICANN has left ``internal`` for private use."""


def domains(identity: Identity, *, serves_hosts: bool) -> tuple[str, ...]:
    """All that is searched, in order."""
    own = tuple(filter(is_domain, identity.resolver.search))
    return (DOMAIN, *own) if serves_hosts and any(_short(identity.hosts)) else own


def names(host: Host) -> tuple[str, ...]:
    """A host's names as they are served.

    dnsmasq passes names with capitals through IDNA, which refuses some; DNS knows no case.
    """
    given = tuple(name.lower() for name in host.names)
    return (*given, *(f"{name}.{DOMAIN}" for name in given if is_label(name)))


def is_given(name: str) -> bool:
    """Whether a served name is the container's, and not one that was made of it."""
    return not name.endswith(f".{DOMAIN}")


def _short(hosts: Iterable[Host]) -> Iterator[str]:
    return (name for host in hosts for name in host.names if is_label(name))
