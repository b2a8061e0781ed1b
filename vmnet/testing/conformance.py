"""The conformance suite: tests that check a plugin against the contract.

``pytest --vmnet-plugin NAME`` runs it on an installed plugin. If a plugin needs an environment, a
configuration file or a service, its own tests subclass the suite instead:

    class TestConformance(Conformance):
        plugin = "jsondisk"

        @pytest.fixture
        def vmnet_environ(self, server):
            return {"VMNET_JSONDISK_URL": server.url}

Each check tests a statement of docs/hooks.md, and runs only if the plugin has a hook that it tests.
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

from vmnet import process
from vmnet.errors import VmnetError
from vmnet.hooks import stages
from vmnet.model.delivery import Delivery, Handover
from vmnet.model.identity import Identity
from vmnet.model.machine import Cdrom, Disk
from vmnet.model.serial import from_json, to_json
from vmnet.settings import core
from vmnet.settings.core import RUN_DIR
from vmnet.settings.table import Setting
from vmnet.testing import namespace, samples, watch
from vmnet.testing.subject import Plan, Subject, load

# The plugins of this distribution need no prefix of their own for their settings.
_OWN_DISTRIBUTION = "vmnet"
# Number of modules outside its package that a plugin may import in addition to those of every
# start: enough for a few of the standard library, not for an HTTP client.
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
# At the start of the text or after a line end, in ASCII or Unicode (U+0085, U+2028, U+2029).
_INJECTED_LINE = re.compile(
    rb"(?:\A|[\n\r\0\v\f]|\xc2\x85|\xe2\x80[\xa8\xa9])" + re.escape(samples.CANARY.encode())
)


def _needs(*hooks: str) -> pytest.MarkDecorator:
    """Restrict a check to plugins that implement any of these hooks."""
    return pytest.mark.vmnet_hooks(*hooks)


class Conformance:
    """The checks. The name of a subclass must begin with ``Test``.

    :cvar plugin: the name of the plugin's entry point
    """

    plugin: ClassVar[str] = ""

    @pytest.fixture
    def vmnet_environ(self) -> dict[str, str]:
        """The variables that the plugin needs. Override this fixture if it needs any."""
        return {}

    @pytest.fixture
    def subject(
        self, vmnet_plugin_name: str, vmnet_environ: dict[str, str], tmp_path: Path
    ) -> Subject:
        return load(vmnet_plugin_name, {RUN_DIR.name: str(tmp_path / "run"), **vmnet_environ})

    def allocated(self) -> object:
        """Return all current allocations of the other system, in any comparable form.

        Override this method if the system can list them. The suite compares the results before an
        allocation and after its release.
        """
        return None

    # The module.

    def test_it_loads(self, subject: Subject) -> None:
        """It can be imported, and its hooks have known names and arguments."""
        assert any(map(subject.implements, stages.hooks())), "it implements no hook"

    def test_importing_it_does_nothing_else(self, subject: Subject) -> None:
        """The import prints, writes and starts nothing."""
        report = json.loads(_in_python(_IMPORT_PROGRAM, subject.plugin.module))
        assert not report["output"], f"importing it prints {report['output']!r}"
        assert not report["effects"], f"importing it {'; '.join(report['effects'])}"

    def test_it_imports_late(self, subject: Subject) -> None:
        """Costly imports are inside functions, because every start imports every plugin."""
        package = subject.plugin.module.partition(".")[0]
        report = json.loads(_in_python(_IMPORT_PROGRAM, subject.plugin.module))
        foreign = [
            name for name in report["modules"] if name.partition(".")[0] not in (package, "vmnet")
        ]
        assert len(foreign) <= _MOST_MODULES, (
            f"importing it loads {len(foreign)} modules that a start does not need: "
            f"{', '.join(foreign)}; import them inside the functions that use them"
        )

    # Settings.

    @_needs("vmnet_settings")
    def test_its_settings_begin_with_its_name(self, subject: Subject) -> None:
        if subject.plugin.distribution == _OWN_DISTRIBUTION:
            return
        prefix = "VMNET_" + re.sub(r"[^A-Z0-9]", "_", subject.plugin.name.upper())
        for row in _rows(subject):
            assert row.name == prefix or row.name.startswith(f"{prefix}_"), (
                f"{row.name} does not begin with {prefix}_, so two plugins may collide"
            )

    @_needs("vmnet_settings")
    def test_its_settings_have_help_and_a_valid_default(self, subject: Subject) -> None:
        """The help is one line, and the parser accepts the default."""
        for row in _rows(subject):
            assert row.help.strip(), f"{row.name} has no help"
            assert row.help.isprintable(), f"the help of {row.name} is more than one line"
            if row.default:
                row.parse(row.default)

    @_needs("vmnet_settings")
    def test_a_wrong_value_is_a_value_error(self, subject: Subject) -> None:
        """vmnet converts only ValueError to an error that names the variable."""
        for row in _rows(subject):
            for value in _ODD_VALUES:
                try:
                    row.parse(value)
                except ValueError as error:
                    if not str(error):
                        pytest.fail(f"{row.name}={value!r}: the error has no message")
                except Exception as error:
                    pytest.fail(f"{row.name}={value!r}: its parser raises {error!r}")

    # Planning.

    @_needs(*_PLANNING)
    def test_it_plans_every_network(self, subject: Subject) -> None:
        """The results have the right types; an identity is refused with a VmnetError."""
        for name, identity in samples.PLAIN.items():
            plan = _plan(subject, name, identity)
            if plan is None:
                assert identity != samples.USUAL, "it refuses a container of docker run"
            for device in (plan.devices or ()) if plan else ():
                assert isinstance(device, Disk | Cdrom), f"{name}: a device is {device!r}"
            for handover in (plan.status or ()) if plan else ():
                assert isinstance(handover, Handover), f"{name}: a handover is {handover!r}"
                assert handover.detail.isprintable(), f"{name}: {handover.detail!r} is not one line"

    @_needs(*_PLANNING)
    def test_planning_has_no_effects(self, subject: Subject) -> None:
        """Planning writes, starts, changes and prints nothing, because `vmnet plan` does it too."""
        run_dir = subject.settings[RUN_DIR]
        for name, identity in samples.PLAIN.items():
            output = StringIO()
            with watch.effects() as effects, redirect_stdout(output), redirect_stderr(output):
                _plan(subject, name, identity)
            assert not effects, f"{name}: planning {'; '.join(effects)}"
            assert not output.getvalue(), f"{name}: planning prints {output.getvalue()!r}"
        assert not run_dir.exists(), f"planning creates {run_dir}"

    @_needs(*_PLANNING)
    @pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace needs root")
    def test_planning_changes_nothing_on_the_network(self, subject: Subject) -> None:
        with namespace.container() as container:
            before = container.state()
            with container.entered():
                _plan(subject, "", samples.USUAL)
            assert container.state() == before, "planning changes the container's network"

    @_needs(*_PLANNING)
    def test_planning_is_deterministic(self, subject: Subject) -> None:
        """A second call returns the same, so `vmnet plan` shows what a start will do."""
        for name, identity in samples.PLAIN.items():
            first, second = (_plan(subject, name, identity) for _ in range(2))
            assert first == second, f"{name}: the second result differs"

    @_needs(*_PLANNING)
    def test_planning_does_not_change_its_arguments(self, subject: Subject) -> None:
        """The data classes are frozen, but not the objects in them."""
        for name, identity in samples.PLAIN.items():
            before = to_json(identity)
            _plan(subject, name, identity)
            assert to_json(identity) == before, f"{name}: planning changes the identity"

    @_needs(*_DELIVERING)
    def test_a_delivery_survives_json(self, subject: Subject) -> None:
        """The field types are right, because `vmnet plan --json` prints the delivery."""
        for name, delivery in _deliveries(subject, samples.PLAIN):
            assert from_json(to_json(delivery), Delivery) == delivery, name

    @_needs(*_DELIVERING)
    def test_its_files_are_in_the_run_directory(self, subject: Subject) -> None:
        """Each path occurs once, and only the owner may write to it, even with hostile names."""
        run_dir = subject.settings[RUN_DIR]
        for name, delivery in _deliveries(subject, {**samples.PLAIN, **samples.HOSTILE}):
            paths = [file.path for file in delivery.files]
            assert len(set(paths)) == len(paths), f"{name}: a file occurs twice in {paths}"
            for file in delivery.files:
                _require_below(run_dir, file.path, name)
                assert not file.mode & 0o022, f"{name}: group or others may write {file.path}"
            for daemon in delivery.daemons:
                _require_below(run_dir, daemon.pidfile, name)
                if daemon.log is not None:
                    _require_below(run_dir, daemon.log, name)

    @_needs(*_DELIVERING)
    def test_its_daemons_can_be_executed(self, subject: Subject) -> None:
        for name, delivery in _deliveries(subject, samples.PLAIN):
            for daemon in delivery.daemons:
                program = daemon.argv[0]
                assert Path(program).is_absolute(), f"{name}: {program} is not an absolute path"
                assert os.access(program, os.X_OK), f"{name}: {program} cannot be executed"

    @_needs(*_DELIVERING)
    def test_not_carried_has_one_line_for_each_part(self, subject: Subject) -> None:
        """Each part is one line, because vmnet logs it; the delivery names its strategy."""
        for name, delivery in _deliveries(subject, {**samples.PLAIN, **samples.HOSTILE}):
            assert delivery.strategy, f"{name}: the delivery names no strategy"
            for line in delivery.not_carried:
                assert line.strip(), f"{name}: an empty line in not_carried"
                assert line.isprintable(), f"{name}: {line!r} is not one line of printable text"

    @_needs("vmnet_devices")
    def test_the_files_of_its_devices_exist_or_are_delivered(self, subject: Subject) -> None:
        for name, identity in samples.PLAIN.items():
            plan = _plan(subject, name, identity)
            if plan is None:
                continue
            delivered = {file.path for delivery in plan.deliveries for file in delivery.files}
            for device in plan.devices or ():
                assert device.path in delivered or device.path.exists(), (
                    f"{name}: {device.path} does not exist and is not delivered"
                )

    @_needs("vmnet_launch_command")
    def test_its_command_can_be_executed(self, subject: Subject) -> None:
        plan = _plan(subject, "", samples.USUAL)
        assert plan is not None
        assert plan.command is not None
        program = plan.command.argv[0]
        assert Path(program).is_absolute(), f"{program} is not an absolute path"
        for path in (plan.command.qmp, plan.command.guard):
            if path is not None:
                _require_below(subject.settings[RUN_DIR], path, "the command")

    # Hostile names.

    @_needs(*_PLANNING)
    def test_hostile_names_inject_nothing(self, subject: Subject) -> None:
        """They are refused, left out or quoted, but never begin a line of a file or argument."""
        for name, identity in samples.HOSTILE.items():
            plan = _plan(subject, name, identity)
            for place, content in _rendered(plan):
                assert not _INJECTED_LINE.search(content), f"{name}: injects a line in {place}"
                assert samples.EVALUATED.encode() not in content, f"{name}: {place} is a template"
            for delivery in plan.deliveries if plan else ():
                for daemon in delivery.daemons:
                    assert "\0" not in "".join(daemon.argv), f"{name}: a NUL in {daemon.argv}"

    # Allocation.

    @_needs("vmnet_ipam_allocate", "vmnet_ipam_release")
    def test_it_allocates_and_releases(self, subject: Subject) -> None:
        assert subject.implements("vmnet_ipam_allocate"), "it releases, but does not allocate"
        assert subject.implements("vmnet_ipam_release"), "it allocates, but does not release"

    @_needs("vmnet_ipam_allocate")
    def test_an_allocation_is_an_identity(self, subject: Subject) -> None:
        """It has the container's interfaces, and survives JSON, because vmnet records it."""
        captured = samples.USUAL
        try:
            allocated = _allocate(subject, captured)
            assert from_json(to_json(allocated), Identity) == allocated
            assert [(interface.name, interface.mac) for interface in allocated.interfaces] == [
                (interface.name, interface.mac) for interface in captured.interfaces
            ], "an allocation must keep the names, MACs and order of the interfaces"
        finally:
            _release(subject, captured)

    @_needs("vmnet_ipam_release")
    def test_releasing_without_an_allocation_is_no_error(self, subject: Subject) -> None:
        """vmnet repeats a release until it succeeds, and releases even if no call was made."""
        _release(subject, samples.USUAL)
        _allocate(subject, samples.USUAL)
        _release(subject, samples.USUAL)
        _release(subject, samples.USUAL)

    @_needs("vmnet_ipam_allocate")
    def test_a_release_frees_everything(self, subject: Subject) -> None:
        """The other system is as before, and the next start can allocate again."""
        before = self.allocated()
        for _ in range(2):
            _allocate(subject, samples.USUAL)
            _release(subject, samples.USUAL)
            assert self.allocated() == before, "the release leaves something allocated"

    @_needs("vmnet_ipam_allocate")
    def test_another_process_can_release(self, subject: Subject) -> None:
        """After a crash, the release has only the identity and the run directory."""
        before = self.allocated()
        _in_child(lambda: _allocate(subject, samples.USUAL))
        _release(subject, samples.USUAL)
        assert self.allocated() == before, "the release leaves something allocated"

    @_needs("vmnet_ipam_allocate")
    def test_hostile_names_leave_no_allocation(self, subject: Subject) -> None:
        """The plugin allocates for them or refuses, and releases either way."""
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
    """Return the plan; None if the plugin refuses the identity with a readable error."""
    try:
        return subject.plan(identity)
    except VmnetError as error:
        _require_readable(error, name)
        return None


def _require_readable(error: VmnetError, name: str) -> None:
    """Fail unless the plugin raised the error itself, with a message and a hint of one line."""
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
        yield from ((name, delivery) for delivery in (plan.deliveries if plan else ()))


def _rendered(plan: Plan | None) -> Iterator[tuple[str, bytes]]:
    """Return everything that other programs will read, with its place."""
    for delivery in plan.deliveries if plan else ():
        yield from ((str(file.path), file.content) for file in delivery.files)
        for daemon in delivery.daemons:
            for argument in daemon.argv:
                yield f"an argument of {daemon.name}", argument.encode()


def _require_below(run_dir: Path, path: Path, name: str) -> None:
    normal = Path(os.path.normpath(path))
    assert run_dir in normal.parents, f"{name}: {path} is not below the run directory"


def _rows(subject: Subject) -> tuple[Setting[Any], ...]:
    names = {row.name for row in core.CORE}
    return tuple(row for row in subject.settings if row.name not in names)


def _allocate(subject: Subject, identity: Identity) -> Identity:
    result: Identity | None = subject.call("vmnet_ipam_allocate", Identity, identity=identity)
    return result or evolve(identity)


def _release(subject: Subject, identity: Identity) -> None:
    subject.call("vmnet_ipam_release", type(None), identity=identity)


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


# Imports the modules of every start first, and reports what the import of the plugin adds.
_IMPORT_PROGRAM = """
import contextlib, importlib, io, json, sys
module, sys.path[:] = sys.argv[1], json.loads(sys.argv[2])
import vmnet.__main__, vmnet.cli.run, vmnet.strategies.bridge.plan, vmnet.strategies.netns.capture
from vmnet.testing import watch
before, output = set(sys.modules), io.StringIO()
with (
    watch.effects() as effects,
    contextlib.redirect_stdout(output),
    contextlib.redirect_stderr(output),
):
    importlib.import_module(module)
modules = sorted(set(sys.modules) - before)
print(json.dumps({"output": output.getvalue(), "effects": effects, "modules": modules}))
"""


def _in_python(program: str, *arguments: str) -> str:
    path = json.dumps([str(Path(folder or ".").absolute()) for folder in sys.path])
    done = process.run((sys.executable, "-c", program, *arguments, path))
    assert done.status == 0, done.stderr
    return done.stderr


def has_hooks(name: str, wanted: tuple[str, ...]) -> bool:
    """Return whether a plugin implements any of these hooks; False if it can't be imported."""
    try:
        subject = load(name, {})
    except (VmnetError, LookupError):
        return _defines_hooks(name, wanted)
    return any(map(subject.implements, wanted))


def _defines_hooks(name: str, wanted: tuple[str, ...]) -> bool:
    """Answer the same for a plugin that does not load, such as without its environment."""
    from vmnet.hooks import discovery

    path = next((plugin.module for plugin in discovery.discover() if plugin.name == name), None)
    try:
        module = importlib.import_module(path) if path else None
    except Exception:
        return False
    return any(hasattr(module, hook) for hook in wanted)
