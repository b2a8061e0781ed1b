"""The source of plugins that each break one check of the conformance tests."""

from __future__ import annotations

HEAD = """\
import os, sys
from pathlib import Path
from vmnet.model.delivery import Daemon, Delivery, File
from vmnet.errors import AllocationError, DeliveryError
from vmnet.hookspecs import hookimpl
from vmnet.model.devices import Cdrom
from vmnet.model.machine import Command
from vmnet.settings.core import RUN_DIR
from vmnet.settings.table import setting
from vmnet.model.wiring import Requirements
from vmnet.settings import values
STORE = Path(__file__ + ".store")
"""
DELIVER = "@hookimpl\ndef vmnet_ipam_deliver(settings, identity, wiring):\n    "
DEVICES = "@hookimpl\ndef vmnet_devices(settings):\n    "
SETTINGS = "@hookimpl\ndef vmnet_settings():\n    "
REQUIRE = "@hookimpl\ndef vmnet_ipam_requirements(identity):\n    "
PAIR = """
@hookimpl
def vmnet_ipam_allocate(settings, identity):
    {allocate}
@hookimpl
def vmnet_ipam_release(settings, identity):
    {release}
"""
TAKE, GIVE = "STORE.touch(); return identity", "STORE.unlink(missing_ok=True)"


def pair(allocate: str = TAKE, release: str = GIVE) -> str:
    return PAIR.format(allocate=allocate, release=release)


# For each way to break the contract: the plugin, the check that must fail, and its message.
BROKEN: dict[str, tuple[str, str, str]] = {
    "misspelt": (
        "@hookimpl\ndef vmnet_ipam_delivr(identity): ...",
        "it_loads",
        "implements an unknown hook vmnet_ipam_delivr",
    ),
    "unknown argument": (
        "@hookimpl\ndef vmnet_ipam_deliver(identity, colour): ...",
        "it_loads",
        "colour",
    ),
    "newer": ("VMNET_CONTRACT = (1, 999)", "it_loads", "requires hook contract 1.999"),
    "no hook": ("", "it_loads", "it implements no hook"),
    "talks at import": ("print('hello')", "importing_it_does_nothing_else", "'hello"),
    "writes at import": (
        "STORE.write_text('')",
        "importing_it_does_nothing_else",
        "importing it writes",
    ),
    "heavy": ("import http.client, asyncio", "it_imports_late", "inside the functions"),
    "foreign setting": (
        f"{SETTINGS}return [setting('VMNET_COLOUR', values.text, 'red', 'a colour')]",
        "its_settings_begin_with_its_name",
        "VMNET_COLOUR does not begin with VMNET_BROKEN",
    ),
    "long help": (
        f"{SETTINGS}return [setting('VMNET_BROKEN_X', values.text, 'red', 'a\\nb')]",
        "its_settings_have_help_and_a_valid_default",
        "more than one line",
    ),
    "parser": (
        f"{SETTINGS}return [setting('VMNET_BROKEN_X', lambda text: [text][len(text)], '', 'x')]",
        "a_wrong_value_is_a_value_error",
        "its parser raises IndexError",
    ),
    "wrong type": (f"{DELIVER}return 'x'", "it_plans_every_network", "returned str"),
    "foreign error": (f"{DELIVER}return {{}}['x']", "it_plans_every_network", "KeyError: 'x'"),
    "exits": (f"{DELIVER}sys.exit(3)", "it_plans_every_network", "SystemExit: 3"),
    "no remedy": (
        f"{DELIVER}raise DeliveryError('no dnsmasq')",
        "it_plans_every_network",
        "has no hint",
    ),
    "no device": (f"{DEVICES}return ('/seed.iso',)", "it_plans_every_network", "a device is"),
    "no handover": (
        "@hookimpl\ndef vmnet_ipam_status(identity):\n    return ('taken',)",
        "it_plans_every_network",
        "a handover is",
    ),
    "writes": (
        f"{DELIVER}STORE.write_text('')",
        "planning_has_no_effects",
        "planning writes",
    ),
    "starts": (
        f"{DELIVER}import subprocess; subprocess.run(['/bin/true'])",
        "planning_has_no_effects",
        "planning starts /bin/true",
    ),
    "makes a folder": (
        f"{DELIVER}settings[RUN_DIR].mkdir()",
        "planning_has_no_effects",
        "planning creates",
    ),
    "prints": (f"{DELIVER}print('x', file=sys.stderr)", "planning_has_no_effects", "prints 'x"),
    "changes the network": (
        f"{DELIVER}import subprocess; subprocess.run('ip link add br9 type bridge'.split())",
        "planning_changes_nothing_on_the_network",
        "planning changes the container's network",
    ),
    "random": (
        f"{DELIVER}return Delivery(os.urandom(4).hex())",
        "planning_is_deterministic",
        "the second result differs",
    ),
    "changes": (
        f"{DELIVER}object.__setattr__(identity, 'hostname', identity.hostname + 'x')",
        "planning_does_not_change_its_arguments",
        "planning changes the identity",
    ),
    "a forgotten return": (
        f"{DELIVER}Delivery('x')",
        "it_returns_a_delivery",
        "vmnet_ipam_deliver returns None",
    ),
    "a list for a tuple": (
        f"{DELIVER}return Delivery('x', files=[File(settings[RUN_DIR] / 'x', b'x')])",
        "a_delivery_survives_json",
        "Delivery.files is list, not tuple[File, ...]",
    ),
    "elsewhere": (
        f"{DELIVER}return Delivery('x', files=(File(Path('/etc/x'), b''),))",
        "its_files_are_in_the_run_directory",
        "/etc/x is not below the run directory",
    ),
    "by the host's name": (
        f"{DELIVER}return Delivery('x', files=(File(settings[RUN_DIR] / identity.hostname, b''),))",
        "its_files_are_in_the_run_directory",
        "a path traversal",
    ),
    "writable": (
        f"{DELIVER}return Delivery('x', files=(File(settings[RUN_DIR] / 'x', b'', 0o666),))",
        "its_files_are_in_the_run_directory",
        "group or others may write",
    ),
    "no daemon": (
        f"{DELIVER}return Delivery('x', "
        "daemons=(Daemon('x', ('/usr/bin/absent',), settings[RUN_DIR] / 'pid'),))",
        "its_daemons_can_be_executed",
        "/usr/bin/absent cannot be executed",
    ),
    "two lines": (
        f"{DELIVER}return Delivery('x', not_carried=(f'the name {{identity.hostname}}',))",
        "not_carried_has_one_line_for_each_part",
        "is not one line of printable text",
    ),
    "no file": (
        f"{DEVICES}return (Cdrom(settings[RUN_DIR] / 'seed.iso'),)",
        "the_files_of_its_devices_exist_or_are_delivered",
        "does not exist and is not delivered",
    ),
    "relative": (
        "@hookimpl\ndef vmnet_launch_command(machine):\n    return Command(('qemu',))",
        "its_command_can_be_executed",
        "qemu is not an absolute path",
    ),
    "a line of the name's": (
        f"{DELIVER}return Delivery('x', "
        "files=(File(settings[RUN_DIR] / 'x', f'host={identity.hostname}'.encode()),))",
        "hostile_names_inject_nothing",
        "a line feed: injects a line in",
    ),
    "a template": (
        f"{DELIVER}import jinja2; name = ''.join(filter(str.isprintable, identity.hostname))\n"
        "    return Delivery('x', files=(File(settings[RUN_DIR] / 'x', "
        "jinja2.Template('host: ' + name).render().encode()),))",
        "hostile_names_inject_nothing",
        "is a template",
    ),
    "allocates alone": (
        "@hookimpl\ndef vmnet_ipam_allocate(identity):\n    return identity",
        "it_allocates_and_releases",
        "it allocates, but does not release",
    ),
    "drops a NIC": (
        pair("from attrs import evolve; return evolve(identity, interfaces=())"),
        "an_allocation_is_an_identity",
        "must keep the names, MACs and order",
    ),
    "strict release": (
        pair(release="STORE.unlink()"),
        "releasing_without_an_allocation_is_no_error",
        "FileNotFoundError",
    ),
    "leaks": (pair(release="pass"), "a_release_frees_everything", "leaves something"),
    "remembers": (
        "HELD = []\n" + pair("HELD.append(1); " + TAKE, f"HELD and HELD.pop() and {GIVE}"),
        "another_process_can_release",
        "leaves something",
    ),
    "proud": (
        pair("identity.hostname.encode('idna'); " + TAKE),
        "hostile_names_leave_no_allocation",
        "UnicodeError",
    ),
}
