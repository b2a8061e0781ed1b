"""Turn an identity into cloud-init's meta-data. Pure functions."""

from __future__ import annotations

import hashlib
import json
from ipaddress import IPv4Address
from typing import Any

import attrs

from vmnet.api import Identity, Wiring, is_domain, is_label


def metadata(
    identity: Identity, wiring: Wiring, ssh_keys: tuple[str, ...] = ()
) -> dict[str, object]:
    """Return the content of the file meta-data.

    :param ssh_keys: here the user's own keys in user-data don't replace them
    """
    found: dict[str, object] = {"instance-id": instance_id(identity, wiring)}
    if ssh_keys:
        found["public-keys"] = list(ssh_keys)
    if is_label(identity.hostname):
        found["local-hostname"] = full_name(identity)
    return found


def instance_id(identity: Identity, wiring: Wiring) -> str:
    """Return an id that is the same for equal identities, and different for different ones.

    cloud-init configures network and names once for each instance id. A new id also runs the user's
    scripts again and renews the SSH host keys, so only the identity may change it. The id does not
    depend on fields with their default value, so that a new field in a later vmnet does not change
    every guest's id. Neither does it depend on the answers of a router and of the engine's
    nameserver, which differ between starts.
    """
    resolver = identity.resolver
    search = tuple(name for name in resolver.search if name not in resolver.networks)
    lasting = attrs.evolve(identity, resolver=attrs.evolve(resolver, search=search, networks=()))
    plain = attrs.asdict(lasting, filter=_is_lasting, value_serializer=_plain)
    canonical = json.dumps([plain, str(wiring.stable_nameserver)], sort_keys=True)
    return f"vmnet-{hashlib.sha256(canonical.encode()).hexdigest()[:32]}"


def not_carried(identity: Identity) -> tuple[str, ...]:
    """Return a line for each name that does not reach the guest."""
    lines = []
    if not is_label(identity.hostname):
        lines.append(f"host name {identity.hostname!r}: not a valid name")
    if identity.domain and not is_domain(identity.domain):
        lines.append(f"domain {identity.domain!r}: not a valid name")
    elif identity.domain and _is_address(_joined(identity)):
        lines.append(f"domain {identity.domain!r}: cloud-init takes the full name for an address")
    return tuple(lines)


def full_name(identity: Identity) -> str:
    """Return the name with its domain, from which cloud-init derives host name and FQDN."""
    whole = _joined(identity)
    return identity.hostname if _is_address(whole) else whole


def _joined(identity: Identity) -> str:
    domain = identity.domain.rstrip(".")
    return f"{identity.hostname}.{domain}" if is_domain(domain) else identity.hostname


def _is_address(text: str) -> bool:
    """Whether cloud-init would replace the name, such as 10.0.0.1 by ``ip-10-0-0-1``."""
    try:
        IPv4Address(text)
    except ValueError:
        return False
    return True


def _is_lasting(attribute: attrs.Attribute[Any], value: Any) -> bool:
    return bool(value != attribute.default) and attribute.name != "router"


def _plain(_noun: Any, _attribute: Any, value: Any) -> Any:
    is_plain = isinstance(value, str | int | dict | list | tuple) or attrs.has(type(value))
    return value if is_plain else str(value)
