"""What the container knew beyond its network, as cloud-init's vendor-data. Pure functions.

Links and time servers travel as vendor-data because user-data is the user's: theirs stays as it is,
and wins where both speak of the same thing.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator

from attrs import frozen

from vmnet.identity import Identity
from vmnet.names import is_domain
from vmnet_cloudinit import addresses, content, document

# A boothook, because it runs at every boot before anything of the user's does, and because lists
# under `write_files` or `bootcmd` are replaced, not extended, by the user's own. Each line carries
# its mark, so that nothing else in the file can ever be taken for ours.
_HOSTS = """\
#cloud-boothook
#!/bin/sh
# Written by vmnet: keeps the container's links in the hosts file. cloud-init's templates have them
# too, since `manage_etc_hosts: true` makes that file anew from these.
set -eu
links() {
    cat <<'LINKS'
@LINKS@LINKS
}
for file in /etc/hosts /etc/cloud/templates/hosts.*.tmpl; do
    [ -f "$file" ] || [ "$file" = /etc/hosts ] || continue
    old=$(cat "$file" 2>/dev/null || true)
    new=$(printf '%s\\n' "$old" | sed '/# vmnet$/d' && links)
    [ "$new" = "$old" ] || printf '%s\\n' "$new" >"$file"
done
"""


@frozen
class Part:
    """A document of its own within the vendor-data.

    :param kind: its MIME type
    :param name: its file name
    """

    kind: str
    name: str
    body: bytes


def vendor_data(identity: Identity, own: bytes | None) -> bytes:
    """The hosts file's lines, the time servers, and behind them the user's own document.

    Of two cloud-configs the later one wins, so the user's is last.
    """
    return combine(tuple(_parts(identity, own)))


def not_carried(identity: Identity) -> tuple[str, ...]:
    """The names that could do harm in a hosts file."""
    return tuple(
        f"name {name!r} of {addresses.text(host.address)}, which is not a valid one"
        for host in identity.hosts
        for name in host.names
        if not is_domain(name)
    )


def hosts(identity: Identity) -> Iterator[str]:
    """The lines of hosts(5), each with our mark."""
    for host in identity.hosts:
        names = tuple(filter(is_domain, host.names))
        if names:
            yield f"{addresses.text(host.address)}\t{' '.join(names)}\t# vmnet\n"


def combine(parts: tuple[Part, ...]) -> bytes:
    """One part as it is, several as a MIME message (RFC 2046 section 5.1)."""
    if len(parts) == 1:
        return parts[0].body
    rendered = [_render(part) for part in parts]
    # No content can hold its own hash.
    boundary = b"vmnet-" + hashlib.sha256(b"".join(rendered)).hexdigest()[:32].encode()
    head = b'Content-Type: multipart/mixed; boundary="%s"\nMIME-Version: 1.0\n\n' % boundary
    body = b"".join(b"--%s\n%s\n" % (boundary, part) for part in rendered)
    return b"%s%s--%s--\n" % (head, body, boundary)


def _parts(identity: Identity, own: bytes | None) -> Iterator[Part]:
    # Always there, so that links end with the container that had them.
    script = _HOSTS.replace("@LINKS@", "".join(hosts(identity)))
    yield Part("text/cloud-boothook", "vmnet-hosts", script.encode())
    if identity.ntp:
        servers = list(map(addresses.text, identity.ntp))
        config = document.dump({"ntp": {"enabled": True, "servers": servers}})
        yield Part("text/cloud-config", "vmnet-ntp", b"#cloud-config\n" + config)
    if own is not None:
        # text/plain has cloud-init look at how the content begins.
        yield Part("text/plain", "vendor-data", content.expand(own))


def _render(part: Part) -> bytes:
    """A part's own headers and its body, unchanged once decoded."""
    if content.kind(part.body) == content.MIME:
        return part.body  # headers and a body already: a part in a part
    header = f'Content-Type: {part.kind}\nContent-Disposition: attachment; filename="{part.name}"\n'
    if part.body.isascii() and b"\r" not in part.body:
        return b"%s\n%s" % (header.encode(), part.body)
    # Python's parser, and so cloud-init, keeps other bytes and line ends only in base64.
    encoded = base64.encodebytes(part.body)
    return b"%sContent-Transfer-Encoding: base64\n\n%s" % (header.encode(), encoded)
