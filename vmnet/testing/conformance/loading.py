"""Checks of a plugin's module: it loads, quickly and without effects."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from vmnet import process
from vmnet.hooks import stages
from vmnet.testing.subject import Subject

# Number of modules outside its package that a plugin may import in addition to those of every
# start: enough for a few of the standard library, not for an HTTP client.
_MOST_MODULES = 10


class LoadingChecks:
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
