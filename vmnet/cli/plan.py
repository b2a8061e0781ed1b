"""``vmnet plan``: what ``vmnet run`` would do, and nothing done."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence

from vmnet import pipeline
from vmnet.cli.output import Parser, heading, print_json, table
from vmnet.delivery import File
from vmnet.lifecycle import state
from vmnet.machine import Command
from vmnet.pipeline import Plan
from vmnet.serial import plain
from vmnet.settings import RUN_DIR


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    parser = Parser("plan", "Show what `vmnet run` would do, changing nothing.")
    parser.epilog = "Any other argument is for QEMU, as with `vmnet run`."
    options, others = parser.parse_known_args(arguments)
    for_qemu = others[1:] if others[:1] == ["--"] else others
    hooks = pipeline.select(environ)
    running = state.load(hooks.settings[RUN_DIR])
    known = None if running is None else (running.identity, running.wiring)
    plan = pipeline.plan(hooks, for_qemu, known)
    if options.json:
        print_json(plain(plan))
    else:
        if running is not None:
            print("A VM has this network already; this is what its start planned.\n")
        _show(plan)
    return 0


def _show(plan: Plan) -> None:
    _show_identity(plan)
    if plan.unallocated:
        names = ", ".join(plan.unallocated)
        print(
            f"\nThis is the container's own: {names} allocates at a start, and has not been asked."
        )
    heading("\nWiring")
    ports = [
        (
            port.guest_mac,
            port.tap,
            port.bridge,
            port.bridge_mac,
            " ".join(str(one) for one in (port.bridge_address, port.link_local) if one),
            f"{port.uplink} ({port.uplink_mac})",
        )
        for port in plan.wiring.ports
    ]
    head = ("guest's MAC", "tap", "bridge", "bridge's MAC", "its address", "uplink and its new MAC")
    print(table(head, ports))
    for delivery in plan.deliveries:
        for file in delivery.files:
            heading(f"\n{file.path} ({delivery.strategy})")
            print(_content(file), end="")
        for daemon in delivery.daemons:
            heading(f"\nDaemon {daemon.name}")
            print(shlex.join(daemon.argv))
    heading("\nCommand")
    print(shlex.join(plan.command.argv).replace(" -", " \\\n  -"))
    print("\n".join(_inherited(plan.command)))
    heading("\nNot carried to the guest")
    print("\n".join(plan.not_carried) or "nothing: all of it is carried")


def _inherited(command: Command) -> Iterator[str]:
    """What the command line can't say."""
    for one in command.opened:
        yield f"descriptor {one.fd}: {one.path}, for {'writing' if one.writable else 'reading'}"
    for listener in command.listeners:
        yield f"descriptor {listener.fd}: the socket {listener.path}"
    if command.user is not None:
        yield f"user {command.user.uid}, group {command.user.gid}, without capabilities"


def _show_identity(plan: Plan) -> None:
    identity = plan.identity
    heading("Identity")
    rows = [
        ("host name", ".".join(filter(None, (identity.hostname, identity.domain)))),
        ("nameservers", " ".join(map(str, identity.resolver.nameservers)) or "-"),
        ("search", " ".join(identity.resolver.search) or "-"),
        *_found(identity.resolver.networks),
        *(("host", f"{host.address} {' '.join(host.names)}") for host in identity.hosts),
    ]
    for one in identity.interfaces:
        rows.append((one.name, f"{one.mac} mtu {one.mtu} {' '.join(map(str, one.addresses))}"))
        rows += (
            ("", f"{route.destination} via {route.gateway or 'the link'}") for route in one.routes
        )
    print(table(("what", "value"), rows))


def _found(networks: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    if networks:
        yield "", f"{' '.join(networks)}: what the nameserver says of the container's addresses"


def _content(file: File) -> str:
    try:
        return file.content.decode()
    except UnicodeDecodeError:
        return f"({len(file.content)} bytes)\n"
