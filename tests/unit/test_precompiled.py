"""The file of a start's modules is used while it is valid, and is never required."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab import precompiling
from tests.lab.wait import WAIT
from tests.unit.interpreter import run
from vmnet import cli
from vmnet.cli import precompile
from vmnet.errors import SettingsError, StateError, UsageError
from vmnet.imports import precompiled

_MODULE = """
import attrs

@attrs.frozen(eq=False)
class Point:
    x: int

def fail() -> None:
    raise ValueError("line 9")
"""
_WRITE = "print(recorder.content()[1].hex())"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with the module ``subject``, which was last modified in the year 2001."""
    (tmp_path / "subject.py").write_text(_MODULE)
    os.utime(tmp_path / "subject.py", (1e9, 1e9))
    path = tmp_path / "start"
    content = _run(path, "recorder = precompiled.record()", _WRITE)
    path.write_bytes(bytes.fromhex(content))
    return path


def _run(file: Path, before: str, after: str) -> str:
    """Run code in a new interpreter, before and after it imports ``subject``."""
    return run(
        f"""
import inspect, sys, traceback
sys.path.append({str(file.parent)!r})
from vmnet.imports import precompiled
precompiled.PATH = {str(file)!r}
{before}
import subject
{after}
"""
    )


def _used(file: Path, before: str = "") -> list[str]:
    """Return whether the file is used, the module of the loader, and ``subject.Point(7).x``."""
    after = "print(type(subject.__loader__).__module__, subject.Point(7).x)"
    return _run(file, f"{before}\nprint(precompiled.use())", after).split()


def test_a_module_comes_from_the_file(file: Path) -> None:
    assert _used(file) == ["True", "vmnet.imports.precompiled", "7"]


def test_methods_by_attrs_come_from_the_file(file: Path) -> None:
    record = """
import builtins
compile, compiled = builtins.compile, []
builtins.compile = lambda *args, **options: (compiled.append(args[1]), compile(*args, **options))[1]
"""
    show = "print([name for name in compiled if 'Point' in name], subject.Point(x=7).x)"
    assert _run(file, f"{record}precompiled.use()", show) == "[] 7\n"
    assert "Point" in _run(file, record, show)


def test_tracebacks_and_inspect_show_the_source(file: Path) -> None:
    after = """
try:
    subject.fail()
except ValueError:
    print(traceback.format_exc())
print(inspect.getsource(subject.Point), subject.__file__, subject.__spec__.origin)
"""
    output = _run(file, "precompiled.use()", after)
    assert "line 9, in fail" in output
    assert 'raise ValueError("line 9")' in output
    assert "class Point:\n    x: int" in output
    assert output.rstrip().endswith(f"{file.parent}/subject.py {file.parent}/subject.py")


@pytest.mark.parametrize(
    "change",
    [
        lambda source: source.write_text(_MODULE.replace("x: int", "x: str")),
        lambda source: os.utime(source, (2e9, 2e9)),
    ],
    ids=["content", "time"],
)
def test_a_changed_module_is_imported_from_its_source(
    file: Path, change: Callable[[Path], object]
) -> None:
    change(file.parent / "subject.py")
    assert _used(file) == ["True", "_frozen_importlib_external", "7"]


def test_a_removed_module_is_missing(file: Path) -> None:
    (file.parent / "subject.py").unlink()
    with pytest.raises(subprocess.CalledProcessError) as caught:
        _used(file)
    assert "No module named 'subject'" in caught.value.stderr


def test_a_file_for_another_sys_path_is_not_used(file: Path) -> None:
    assert _used(file, "sys.path.append('/elsewhere')") == [
        *("False", "_frozen_importlib_external", "7")
    ]


def test_a_file_of_another_interpreter_is_not_used(file: Path) -> None:
    assert _used(file, "import attrs; sys.version = 'another'")[0] == "False"


@pytest.mark.parametrize("length", [0, 5, 500, 5000])
def test_a_truncated_file_is_not_used(file: Path, length: int) -> None:
    file.write_bytes(file.read_bytes()[:length])
    assert _used(file) == ["False", "_frozen_importlib_external", "7"]


def test_a_module_in_an_earlier_folder_takes_precedence(file: Path) -> None:
    """A module with the same name is added to a folder that comes earlier in ``sys.path``."""
    earlier = file.parent / "earlier"
    earlier.mkdir()
    before = f"sys.path.insert(1, {str(earlier)!r})"
    content = _run(file, f"{before}; recorder = precompiled.record()", _WRITE)
    file.write_bytes(bytes.fromhex(content))
    assert _used(file, before)[0] == "True"
    _change_size(earlier)
    assert _used(file, before)[0] == "True"
    (earlier / "subject.py").write_text(
        "class Point:\n    def __init__(self, x):\n        self.x = 8"
    )
    os.utime(earlier, (2e9, 2e9))
    assert _used(file, before) == ["False", "_frozen_importlib_external", "8"]


def _change_size(folder: Path) -> None:
    """Change only the folder's size, as a copy to another file system does. tmpfs keeps it."""
    before = folder.stat()
    files = [folder / f"{number:0200}" for number in range(100)]
    for file in files:
        file.touch()
    for file in files:
        file.unlink()
    os.utime(folder, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_file_of_another_vmnet_is_not_used(file: Path) -> None:
    assert _used(file, "precompiled.__file__ = sys.executable")[0] == "False"


def test_a_folder_in_place_of_the_file_is_not_used(file: Path) -> None:
    file.unlink()
    file.mkdir()
    assert _used(file)[0] == "False"


def test_without_the_file_modules_come_from_their_sources(file: Path) -> None:
    file.unlink()
    assert _used(file) == ["False", "_frozen_importlib_external", "7"]


_LATER = {
    "VMNET_DISK": "/comes/later",
    "VMNET_INITRD": "/comes/later",
    "VMNET_ACCEL": "kvm",
    "VMNET_MEMORY": "4096T",
}


def test_the_command_prints_the_path_of_the_file(tmp_path: Path) -> None:
    """The command needs neither the files of a container nor the devices of another host."""
    done = _command(tmp_path / "made", _LATER)
    assert done.stdout.startswith(f"{done.stdout.split()[0]} modules written to {tmp_path}/made, ")
    assert done.stderr == ""
    assert (tmp_path / "made").stat().st_size > 1 << 20


def test_a_missing_file_of_a_strategy_causes_a_warning(tmp_path: Path) -> None:
    settings = {"VMNET_IPAM": "cloudinit", "VMNET_USER_DATA": "/comes/later"}
    done = _command(tmp_path / "made", settings)
    assert "the file lacks later imports: VMNET_USER_DATA=/comes/later" in done.stderr
    assert (tmp_path / "made").exists()


def test_an_invalid_setting_is_an_error(tmp_path: Path) -> None:
    done = _command(tmp_path / "made", {"VMNET_CPUS": "many"})
    assert done.returncode == SettingsError.exit_code
    assert "VMNET_CPUS=many" in done.stderr
    assert not (tmp_path / "made").exists()


def _command(file: Path, settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": os.environ["PATH"], "VMNET_QEMU": "/bin/true", **settings}
    command = precompiling.command(file)
    return subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=WAIT, check=False
    )


def test_a_folder_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precompiled, "PATH", "/proc/start")
    with pytest.raises(StateError, match="can't write /proc/start") as caught:
        precompile._write(b"")
    assert "root" in caught.value.hint


def test_only_the_program_can_write_the_file() -> None:
    with pytest.raises(UsageError, match="were not recorded") as caught:
        cli.main(["precompile"], {})
    assert "`vmnet precompile`" in caught.value.hint
    assert precompiled.recorder() is None
    assert not any(isinstance(finder, precompiled.Recorder) for finder in sys.meta_path)
