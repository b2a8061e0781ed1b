"""``vmnet plan``: show what ``vmnet run`` would do."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from attrs import evolve

from vmnet import pipeline
from vmnet.cli import port_words
from vmnet.errors import StateError
from vmnet.lifecycle import command_record, saved_vm, state, vm_record
from vmnet.model.delivery import File
from vmnet.model.machine import Command
from vmnet.model.serial import plain
from vmnet.model.wiring import Port
from vmnet.pipeline import Plan
from vmnet.planning import nics
from vmnet.planning.booting import firmware
from vmnet.settings.core import RUN_DIR
from vmnet.terminal.colours import heading
from vmnet.terminal.documents import print_json
from vmnet.terminal.options import Parser
from vmnet.terminal.tables import table


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    parser = Parser("plan", "Show what `vmnet run` would do, without changing anything.")
    parser.epilog = "All other arguments are for QEMU, as with `vmnet run`."
    options, remaining = parser.parse_known_args(arguments)
    for_qemu = remaining[1:] if remaining[:1] == ["--"] else remaining
    hooks = pipeline.select(environ)
    run_dir = hooks.settings[RUN_DIR]
    saved = state.load(run_dir, hooks.restorers)
    known = None if saved is None else (saved.identity, saved.wiring)
    running = None if saved is None else vm_record.load(run_dir)
    if running is None or for_qemu:
        plan = pipeline.plan(hooks, for_qemu, known)
        if running is None:
            plan = evolve(plan, saved_vm=_resumption(plan, run_dir))
    else:
        own = firmware.own_argument(running.firmware)
        plan = pipeline.plan(hooks, (), known, own_firmware=own)
        plan = evolve(plan, command=command_record.load(run_dir))
    if options.json:
        print_json(plain(plan))
    else:
        if running is not None:
            print("A running VM uses this network; this is the plan of its start.\n")
        elif saved is not None:
            print("A VM has used this network; a start restores it first.\n")
        _show(plan)
    return 0


def _show(plan: Plan) -> None:
    _show_identity(plan)
    if plan.unallocated:
        names = ", ".join(plan.unallocated)
        print(
            f"\nThese are the container's addresses: {names} allocates at a start, "
            "and was not called."
        )
    heading("\nWiring")
    head = ("guest's MAC", "back end", "container's end", "its MAC", "its addresses", "uplink")
    print(table(head, list(map(_path, plan.wiring.ports))))
    for port in plan.wiring.ports:
        for line in port_words.further(port):
            print(line)
    for delivery in plan.deliveries:
        for file in delivery.files:
            heading(f"\n{file.path} ({delivery.strategy})")
            print(_content(file), end="")
        for daemon in delivery.daemons:
            heading(f"\nDaemon {daemon.name}")
            print(shlex.join(daemon.argv))
    for daemon in (*plan.device_daemons, *filter(None, (plan.exporter,))):
        heading(f"\nDaemon {daemon.name}")
        print(shlex.join(daemon.argv))
    heading("\nMachine")
    print(table(("part", "value"), list(_machine(plan))))
    heading("\nFirmware")
    print(plan.machine.firmware.described)
    heading("\nCommand")
    print(shlex.join(plan.command.argv).replace(" -", " \\\n  -"))
    print("\n".join(_inherited(plan.command)))
    if plan.unused_settings:
        heading("\nVariables without effect")
        print("\n".join(plan.unused_settings))
    heading("\nNot carried to the guest")
    print("\n".join((*plan.identity.not_carried, *plan.not_carried)) or "nothing")
    if plan.saved_vm:
        heading("\nSaved VM")
        print(plan.saved_vm)


def _resumption(plan: Plan, run_dir: Path) -> str:
    """Return whether a start resumes the VM that was saved; empty if none was."""
    try:
        saved = saved_vm.load(run_dir)
    except StateError as error:
        return f"a start boots the guest: {error.message}"
    if saved is None:
        return ""
    addresses = vm_record.expected(plan.identity, outside=plan.outside)
    devices = map(nics.described, plan.machine.nics)
    guest_nics = vm_record.guest_nics(plan.wiring, addresses, devices)
    if differences := list(saved_vm.differences(saved, plan.command, guest_nics)):
        return f"a start boots the guest, and does not resume it: {'; '.join(differences)}"
    return "a start resumes the guest as it was saved, if QEMU has the same version"


def _path(port: Port) -> tuple[str, ...]:
    own = port.local
    return (
        port.guest_mac,
        port_words.backend(port),
        own.device if own else "none",
        own.mac if own else "",
        port_words.addresses(port),
        port_words.uplink(port),
    )


def _machine(plan: Plan) -> Iterator[tuple[str, str]]:
    machine = plan.machine
    yield "architecture", machine.architecture
    yield "CPUs", str(machine.cpus)
    pages = f", in huge pages of {machine.huge_page >> 20} MiB" if machine.huge_page else ""
    yield "memory", f"{machine.memory >> 20} MiB{pages}"
    pairs = plan.wiring.pairs(plan.identity)
    for (interface, _), nic in zip(pairs, machine.nics, strict=True):
        boots = "" if nic.boot is None else ", boots from the network"
        yield interface.name, f"{nics.described(nic)}{boots}"


def _inherited(command: Command) -> Iterator[str]:
    """List what QEMU inherits in addition to its command line."""
    for opened in command.opened:
        access = "writing" if opened.writable else "reading"
        yield f"descriptor {opened.fd}: {opened.path}, for {access}"
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
        *_networks(identity.resolver.networks),
        *(("host", f"{host.address} {' '.join(host.names)}") for host in identity.hosts),
    ]
    for interface in identity.interfaces:
        addresses = " ".join(map(str, interface.addresses))
        rows.append((interface.name, f"{interface.mac} mtu {interface.guest_mtu} {addresses}"))
        rows += (
            ("", f"{route.destination} via {route.gateway or 'the link'}")
            for route in interface.routes
        )
        rows += (
            ("", f"gateway {neighbour.address} has the permanent MAC {neighbour.mac}")
            for neighbour in interface.neighbours
        )
    print(table(("what", "value"), rows))


def _networks(networks: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    if networks:
        yield "", f"{' '.join(networks)}: from the nameserver's names for the container's addresses"


def _content(file: File) -> str:
    try:
        return file.content.decode()
    except UnicodeDecodeError:
        return f"({len(file.content)} bytes)\n"
