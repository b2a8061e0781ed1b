"""The conformance suite: what vmnet expects of every plugin, as tests that a plugin runs on itself.

``pytest --vmnet-plugin NAME`` runs it on an installed plugin. One that needs an environment, a
configuration file or a service of its own subclasses it beside its other tests instead:

    class TestConformance(Conformance):
        plugin = "jsondisk"

        @pytest.fixture
        def vmnet_environ(self, server):
            return {"VMNET_JSONDISK_URL": server.url}

Each check is of one sentence of docs/hooks.md, and only those run whose hooks the plugin has.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, ClassVar

import pytest
from attrs import evolve

from vmnet import hooks as facade
from vmnet import process
from vmnet import settings as table
from vmnet.delivery import Delivery, Handover
from vmnet.errors import VmnetError
from vmnet.identity import Identity
from vmnet.machine import Cdrom, Disk
from vmnet.serial import from_json, to_json
from vmnet.settings import RUN_DIR, Setting
from vmnet.testing import namespace, samples, watch
from vmnet.testing.subject import Plan, Subject, load

# The distribution whose plugins share one table of settings with the core.
_OWN_DISTRIBUTION = "vmnet"
# Modules from outside its own package that a plugin may import at every start, beyond what each
# start has anyway: room for a few of the standard library, not for an HTTP client.
_MOST_MODULES = 10
_PLANNING = (
    "vmnet_ipam_requirements",
    "vmnet_ipam_deliver",
    "vmnet_forwarder",
    "vmnet_devices",
    "vmnet_launch_command",
    "vmnet_ipam_status",
)
_DELIVERING = ("vmnet_ipam_deliver", "vmnet_forwarder")
_ODD_VALUES = ("\n", "\0", "'", "é", "-1", "/", "{{", "a,a", ",", "9" * 5000, "\u2028", "%s")
# At the start of the text or behind what ends a line, in ASCII and in Unicode (U+0085, U+2028/9).
_BROKEN_OUT = re.compile(
    rb"(?:\A|[\n\r\0\v\f]|\xc2\x85|\xe2\x80[\xa8\xa9])" + re.escape(samples.CANARY.encode())
)


def _needs(*hooks: str) -> pytest.MarkDecorator:
    """The check is for plugins with one of these hooks."""
    return pytest.mark.vmnet_hooks(*hooks)


class Conformance:
    """Subclass it with a name that begins with ``Test``.

    :cvar plugin: the name of the plugin's entry point
    """

    plugin: ClassVar[str] = ""

    @pytest.fixture
    def vmnet_environ(self) -> dict[str, str]:
        """The variables that the plugin needs; override it."""
        return {}

    @pytest.fixture
    def subject(
        self, vmnet_plugin_name: str, vmnet_environ: dict[str, str], tmp_path: Path
    ) -> Subject:
        return load(vmnet_plugin_name, {RUN_DIR.name: str(tmp_path / "run"), **vmnet_environ})

    def allocated(self) -> object:
        """What the other system holds as allocated, where that can be asked: override it.

        Compared, before an allocation and after its release.
        """
        return None

    # The module.

    def test_it_loads(self, subject: Subject) -> None:
        """Importable, no misspelt hook, no argument that a hook does not have."""
        assert any(map(subject.implements, facade.names())), "it implements no hook"

    def test_importing_it_does_nothing_else(self, subject: Subject) -> None:
        """Nothing printed, written or started."""
        seen = json.loads(_in_python(_IMPORT_PROGRAM, subject.plugin.module))
        assert not seen["said"], f"importing it prints {seen['said']!r}"
        assert not seen["effects"], f"importing it {'; '.join(seen['effects'])}"

    def test_it_imports_late(self, subject: Subject) -> None:
        """It is imported at every start, selected or not: what is costly goes inside functions."""
        package = subject.plugin.module.partition(".")[0]
        seen = json.loads(_in_python(_IMPORT_PROGRAM, subject.plugin.module))
        foreign = [
            one for one in seen["modules"] if one.partition(".")[0] not in (package, "vmnet")
        ]
        assert len(foreign) <= _MOST_MODULES, (
            f"importing it loads {len(foreign)} modules that a start does not need: "
            f"{', '.join(foreign)}; import them inside the functions that use them"
        )

    # Settings.

    @_needs("vmnet_settings")
    def test_its_settings_carry_its_name(self, subject: Subject) -> None:
        if subject.plugin.distribution == _OWN_DISTRIBUTION:
            return
        prefix = "VMNET_" + re.sub(r"[^A-Z0-9]", "_", subject.plugin.name.upper())
        for row in _rows(subject):
            assert row.name == prefix or row.name.startswith(f"{prefix}_"), (
                f"{row.name} does not begin with {prefix}_, so two plugins may collide"
            )

    @_needs("vmnet_settings")
    def test_its_settings_explain_themselves(self, subject: Subject) -> None:
        """A help of one line, and a default that its own parser takes."""
        for row in _rows(subject):
            assert row.help.strip(), f"{row.name} has no help"
            assert row.help.isprintable(), f"the help of {row.name} is more than one line"
            if row.default:
                row.parse(row.default)

    @_needs("vmnet_settings")
    def test_a_wrong_value_is_a_value_error(self, subject: Subject) -> None:
        """Whatever the text: only ValueError becomes a line that names the variable."""
        for row in _rows(subject):
            for value in _ODD_VALUES:
                try:
                    row.parse(value)
                except ValueError as error:
                    if not str(error):
                        pytest.fail(f"{row.name}={value!r}: the error says nothing")
                except Exception as error:
                    pytest.fail(f"{row.name}={value!r}: its parser raises {error!r}")

    # Planning.

    @_needs(*_PLANNING)
    def test_it_plans_every_network(self, subject: Subject) -> None:
        """The types are right, and an identity that it can't serve is refused in the family."""
        for name, identity in samples.PLAIN.items():
            plan = _plan(subject, name, identity)
            if plan is None:
                assert identity != samples.USUAL, "it refuses a container of docker run"
            for answer in (plan.devices or ()) if plan else ():
                assert isinstance(answer, Disk | Cdrom), f"{name}: a device is {answer!r}"
            for told in (plan.status or ()) if plan else ():
                assert isinstance(told, Handover), f"{name}: a handover is {told!r}"
                assert told.detail.isprintable(), f"{name}: {told.detail!r} is not one line"

    @_needs(*_PLANNING)
    def test_planning_has_no_effects(self, subject: Subject) -> None:
        """Nothing written, started or changed: `vmnet plan` asks too."""
        run_dir = subject.settings[RUN_DIR]
        for name, identity in samples.PLAIN.items():
            said = StringIO()
            with watch.effects() as seen, redirect_stdout(said), redirect_stderr(said):
                _plan(subject, name, identity)
            assert not seen, f"{name}: planning {'; '.join(seen)}"
            assert not said.getvalue(), f"{name}: planning prints {said.getvalue()!r}"
        assert not run_dir.exists(), f"planning makes {run_dir}"

    @_needs(*_PLANNING)
    @pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace takes root")
    def test_planning_changes_nothing_on_the_network(self, subject: Subject) -> None:
        with namespace.container() as made:
            before = made.state()
            with made.entered():
                _plan(subject, "", samples.USUAL)
            assert made.state() == before, "planning changes the container's network"

    @_needs(*_PLANNING)
    def test_planning_is_a_function_of_what_it_is_given(self, subject: Subject) -> None:
        """Asked twice it answers the same: `vmnet plan` shows what a start will do."""
        for name, identity in samples.PLAIN.items():
            first, second = (_plan(subject, name, identity) for _ in range(2))
            assert first == second, f"{name}: the second answer differs"

    @_needs(*_PLANNING)
    def test_planning_leaves_what_it_is_given(self, subject: Subject) -> None:
        """Nouns are frozen, and what they hold is left alone too."""
        for name, identity in samples.PLAIN.items():
            before = to_json(identity)
            _plan(subject, name, identity)
            assert to_json(identity) == before, f"{name}: planning changes the identity"

    @_needs(*_DELIVERING)
    def test_a_delivery_survives_json(self, subject: Subject) -> None:
        """Text, bytes, paths and tuples, as the types say: `vmnet plan --json` shows it."""
        for name, delivery in _deliveries(subject, samples.PLAIN):
            assert from_json(to_json(delivery), Delivery) == delivery, name

    @_needs(*_DELIVERING)
    def test_its_files_are_in_the_run_directory(self, subject: Subject) -> None:
        """Each once, and for nobody else to change, whatever names the identity has."""
        run_dir = subject.settings[RUN_DIR]
        for name, delivery in _deliveries(subject, {**samples.PLAIN, **samples.HOSTILE}):
            paths = [one.path for one in delivery.files]
            assert len(set(paths)) == len(paths), f"{name}: a file twice among {paths}"
            for file in delivery.files:
                _require_below(run_dir, file.path, name)
                assert not file.mode & 0o022, f"{name}: others may write {file.path}"
            for daemon in delivery.daemons:
                _require_below(run_dir, daemon.pidfile, name)
                if daemon.log is not None:
                    _require_below(run_dir, daemon.log, name)

    @_needs(*_DELIVERING)
    def test_its_daemons_can_be_executed(self, subject: Subject) -> None:
        for name, delivery in _deliveries(subject, samples.PLAIN):
            for daemon in delivery.daemons:
                assert Path(daemon.argv[0]).is_absolute(), f"{name}: {daemon.argv[0]} is no path"
                assert os.access(daemon.argv[0], os.X_OK), f"{name}: {daemon.argv[0]} is not there"

    @_needs(*_DELIVERING)
    def test_what_is_not_carried_is_told_in_lines(self, subject: Subject) -> None:
        """One line each, since they are logged, and the delivery bears the plugin's name."""
        for name, delivery in _deliveries(subject, {**samples.PLAIN, **samples.HOSTILE}):
            assert delivery.strategy, f"{name}: the delivery names no strategy"
            for line in delivery.not_carried:
                assert line.strip(), f"{name}: an empty line in not_carried"
                assert line.isprintable(), f"{name}: {line!r} is not one line of printable text"

    @_needs("vmnet_devices")
    def test_the_files_of_its_devices_are_there(self, subject: Subject) -> None:
        """There already, or of its own delivery."""
        for name, identity in samples.PLAIN.items():
            plan = _plan(subject, name, identity)
            if plan is None:
                continue
            delivered = {file.path for one in plan.deliveries for file in one.files}
            for device in plan.devices or ():
                assert device.path in delivered or device.path.exists(), (
                    f"{name}: nobody makes {device.path}"
                )

    @_needs("vmnet_launch_command")
    def test_its_command_can_be_executed(self, subject: Subject) -> None:
        plan = _plan(subject, "", samples.USUAL)
        assert plan is not None
        assert plan.command is not None
        assert Path(plan.command.argv[0]).is_absolute(), f"{plan.command.argv[0]} is no path"
        for path in (plan.command.qmp, plan.command.guard):
            if path is not None:
                _require_below(subject.settings[RUN_DIR], path, "the command")

    # Names that come from outside.

    @_needs(*_PLANNING)
    def test_hostile_names_do_not_break_out(self, subject: Subject) -> None:
        """Refused, left out, quoted: but never a line of their own in a file or an argument."""
        for name, identity in samples.HOSTILE.items():
            plan = _plan(subject, name, identity)
            for what, content in _rendered(plan):
                assert not _BROKEN_OUT.search(content), f"{name}: breaks out in {what}"
                assert samples.EVALUATED.encode() not in content, f"{name}: {what} is a template"
            for daemon in (one for d in (plan.deliveries if plan else ()) for one in d.daemons):
                assert "\0" not in "".join(daemon.argv), f"{name}: a NUL in {daemon.argv}"

    # Allocation.

    @_needs("vmnet_ipam_allocate", "vmnet_ipam_release")
    def test_what_allocates_releases(self, subject: Subject) -> None:
        assert subject.implements("vmnet_ipam_allocate"), "it releases, but does not allocate"
        assert subject.implements("vmnet_ipam_release"), "it allocates, but does not release"

    @_needs("vmnet_ipam_allocate")
    def test_an_allocation_is_an_identity(self, subject: Subject) -> None:
        """With the container's interfaces, and one that survives JSON: it goes on record."""
        given = samples.USUAL
        try:
            made = _allocate(subject, given)
            assert from_json(to_json(made), Identity) == made
            assert [(one.name, one.mac) for one in made.interfaces] == [
                (one.name, one.mac) for one in given.interfaces
            ], "an allocation keeps the interfaces: names, MACs and order"
        finally:
            _release(subject, given)

    @_needs("vmnet_ipam_release")
    def test_to_release_what_is_not_allocated_is_no_error(self, subject: Subject) -> None:
        """It is called until it succeeds, and for calls that were never made."""
        _release(subject, samples.USUAL)
        _allocate(subject, samples.USUAL)
        _release(subject, samples.USUAL)
        _release(subject, samples.USUAL)

    @_needs("vmnet_ipam_allocate")
    def test_a_release_gives_back_all_of_it(self, subject: Subject) -> None:
        """So that the other system is as before, and the next start may allocate again."""
        before = self.allocated()
        for _ in range(2):
            _allocate(subject, samples.USUAL)
            _release(subject, samples.USUAL)
            assert self.allocated() == before, "the release leaves something allocated"

    @_needs("vmnet_ipam_allocate")
    def test_another_process_can_release(self, subject: Subject) -> None:
        """After a crash it has the identity and the run directory, and no memory of the call."""
        before = self.allocated()
        _in_child(lambda: _allocate(subject, samples.USUAL))
        _release(subject, samples.USUAL)
        assert self.allocated() == before, "the release leaves something allocated"

    @_needs("vmnet_ipam_allocate")
    def test_hostile_names_are_allocated_for_or_refused(self, subject: Subject) -> None:
        for name, identity in samples.HOSTILE.items():
            before = self.allocated()
            try:
                _allocate(subject, identity)
            except VmnetError as error:
                _require_readable(error, name)
            finally:
                _release(subject, identity)
            assert self.allocated() == before, f"{name}: the release leaves something allocated"


def _plan(subject: Subject, name: str, identity: Identity) -> Plan | None:
    """The plan; None where the plugin refuses, as it may, in words that a person can read."""
    try:
        return subject.plan(identity)
    except VmnetError as error:
        _require_readable(error, name)
        return None


def _require_readable(error: VmnetError, name: str) -> None:
    """An error of the family that the plugin meant, in one line, with a remedy."""
    if error.__cause__ is not None or type(error).__name__ == "PluginError":
        pytest.fail(f"{name}: {error.message}")
    for part, text in (("message", error.message), ("hint", error.hint)):
        assert text.strip(), f"{name}: {error!r} has no {part}"
        assert text.isprintable(), f"{name}: the {part} {text!r} is not one line"


def _deliveries(
    subject: Subject, identities: dict[str, Identity]
) -> Iterator[tuple[str, Delivery]]:
    for name, identity in identities.items():
        plan = _plan(subject, name, identity)
        yield from ((name, one) for one in (plan.deliveries if plan else ()))


def _rendered(plan: Plan | None) -> Iterator[tuple[str, bytes]]:
    """Whatever other programs will read."""
    for delivery in plan.deliveries if plan else ():
        yield from ((str(one.path), one.content) for one in delivery.files)
        for daemon in delivery.daemons:
            yield from ((f"an argument of {daemon.name}", one.encode()) for one in daemon.argv)


def _require_below(run_dir: Path, path: Path, name: str) -> None:
    normal = Path(os.path.normpath(path))
    assert run_dir in normal.parents, f"{name}: {path} is not below the run directory"


def _rows(subject: Subject) -> tuple[Setting[Any], ...]:
    core = {one.name for one in table.CORE}
    return tuple(one for one in subject.settings if one.name not in core)


def _allocate(subject: Subject, identity: Identity) -> Identity:
    answer: Identity | None = subject.ask("vmnet_ipam_allocate", Identity, identity=identity)
    return answer or evolve(identity)


def _release(subject: Subject, identity: Identity) -> None:
    subject.ask("vmnet_ipam_release", type(None), identity=identity)


def _in_child(function: Any) -> None:
    """Run a function in a fork of this process."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            function()
            status = 0
        except BaseException as error:
            os.write(2, f"{error}\n".encode())
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, "the allocation failed"


# With all that a start has imported anyway, and the environment of the tests.
_IMPORT_PROGRAM = """
import contextlib, importlib, io, json, sys
module, sys.path[:] = sys.argv[1], json.loads(sys.argv[2])
import vmnet.__main__, vmnet.cli.run, vmnet.net.bridge, vmnet.net.capture
from vmnet.testing import watch
before, said = set(sys.modules), io.StringIO()
with watch.effects() as seen, contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
    importlib.import_module(module)
modules = sorted(set(sys.modules) - before)
print(json.dumps({"said": said.getvalue(), "effects": seen, "modules": modules}))
"""


def _in_python(program: str, *arguments: str) -> str:
    path = json.dumps([str(Path(one or ".").absolute()) for one in sys.path])
    done = process.run((sys.executable, "-c", program, *arguments, path))
    assert done.status == 0, done.stderr
    return done.stderr


def has_hooks(name: str, wanted: tuple[str, ...]) -> bool:
    """Whether a plugin has one of these hooks; True where it can't be told, for a test to tell."""
    try:
        subject = load(name, {})
    except (VmnetError, LookupError):
        return _marks(name, wanted)
    return any(map(subject.implements, wanted))


def _marks(name: str, wanted: tuple[str, ...]) -> bool:
    """The same for a plugin that does not load with an empty environment."""
    from vmnet import discovery

    module = next((one.module for one in discovery.discover() if one.name == name), None)
    try:
        found = importlib.import_module(module) if module else None
    except Exception:
        return False
    return any(hasattr(found, one) for one in wanted)
