"""The command line that runs a module as a program of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.wait import WAIT
from vmnet import program

_MAIN = "def main(*words):\n    import sys\n    print(__name__, *words, *sys.modules)\n"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Create an importable package whose __init__ imports much, with a module in a subpackage."""
    inner = tmp_path / "vmnet_program_test" / "inner"
    inner.mkdir(parents=True)
    (inner.parent / "__init__.py").write_text("import decimal\n")
    (inner / "__init__.py").touch()
    (inner / "daemon.py").write_text(f"import vmnet.net.packets\n{_MAIN}")
    monkeypatch.syspath_prepend(str(tmp_path))
    return "vmnet_program_test.inner.daemon"


def run(argv: tuple[str, ...]) -> list[str]:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=WAIT, check=True)
    return done.stdout.split()


def test_a_light_program_gets_strings_and_skips_the_package_on_top(package: str) -> None:
    name, first, second, *loaded = run(program.command(package, 1, Path("/a"), light=True))
    assert (name, first, second) == ("inner.daemon", "1", "/a")
    assert not {"decimal", "site", "vmnet_program_test"} & set(loaded)
    assert "vmnet.net.packets" in loaded


@pytest.mark.parametrize("light", [True, False])
def test_a_program_imports_nothing_from_the_environment_or_the_working_directory(
    light: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ctypes.py").write_text("raise SystemExit('foreign')")
    words = ("", sys.executable, "-c", "print(5)")
    argv = program.command("vmnet.supervision.unprivileged", *words, light=light)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert run(argv) == ["5"]
