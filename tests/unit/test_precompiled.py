"""The file of what a start imports is used as long as it is true, and never needed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.lab import precompiling
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
    """The file, of a module ``subject`` that changed last in the year 2001."""
    (tmp_path / "subject.py").write_text(_MODULE)
    os.utime(tmp_path / "subject.py", (1e9, 1e9))
    made = tmp_path / "start"
    content = _run(made, "recorder = precompiled.record()", _WRITE)
    made.write_bytes(bytes.fromhex(content))
    return made


def _run(file: Path, before: str, after: str) -> str:
    """Do something before and after a fresh interpreter imports ``subject``."""
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
    """Whether the file is used at all, and where the module comes from."""
    after = "print(type(subject.__loader__).__module__, subject.Point(7).x)"
    return _run(file, f"{before}\nprint(precompiled.use())", after).split()


def test_a_module_comes_from_it(file: Path) -> None:
    assert _used(file) == ["True", "vmnet.imports.precompiled", "7"]


def test_what_attrs_compiles_comes_from_it(file: Path) -> None:
    watch = """
import builtins
compile, seen = builtins.compile, []
builtins.compile = lambda *of, **how: (seen.append(of[1]), compile(*of, **how))[1]
"""
    look = "print([one for one in seen if 'Point' in one], subject.Point(x=7).x)"
    assert _run(file, f"{watch}precompiled.use()", look) == "[] 7\n"
    assert "Point" in _run(file, watch, look)


def test_a_source_is_still_its_source(file: Path) -> None:
    after = """
try:
    subject.fail()
except ValueError:
    print(traceback.format_exc())
print(inspect.getsource(subject.Point), subject.__file__, subject.__spec__.origin)
"""
    said = _run(file, "precompiled.use()", after)
    assert "line 9, in fail" in said
    assert 'raise ValueError("line 9")' in said
    assert "class Point:\n    x: int" in said
    assert said.rstrip().endswith(f"{file.parent}/subject.py {file.parent}/subject.py")


@pytest.mark.parametrize(
    "change",
    [
        lambda source: source.write_text(_MODULE.replace("x: int", "x: str")),
        lambda source: os.utime(source, (2e9, 2e9)),
    ],
    ids=["content", "time"],
)
def test_what_has_changed_is_imported_as_ever(file: Path, change: Callable[[Path], object]) -> None:
    change(file.parent / "subject.py")
    assert _used(file) == ["True", "_frozen_importlib_external", "7"]


def test_what_is_gone_is_missed_as_ever(file: Path) -> None:
    (file.parent / "subject.py").unlink()
    with pytest.raises(subprocess.CalledProcessError) as caught:
        _used(file)
    assert "No module named 'subject'" in caught.value.stderr


def test_with_other_paths_it_is_not_used(file: Path) -> None:
    assert _used(file, "sys.path.append('/elsewhere')") == [
        *("False", "_frozen_importlib_external", "7")
    ]


def test_of_another_interpreter_it_is_not_used(file: Path) -> None:
    assert _used(file, "import attrs; sys.version = 'another'")[0] == "False"


@pytest.mark.parametrize("length", [0, 5, 500, 5000])
def test_cut_short_it_is_not_used(file: Path, length: int) -> None:
    file.write_bytes(file.read_bytes()[:length])
    assert _used(file) == ["False", "_frozen_importlib_external", "7"]


def test_what_may_go_before_it_is_found(file: Path) -> None:
    """A module of the same name, put into a folder that imports search earlier."""
    earlier = file.parent / "earlier"
    earlier.mkdir()
    before = f"sys.path.insert(1, {str(earlier)!r})"
    source = _run(file, f"{before}; recorder = precompiled.record()", _WRITE)
    file.write_bytes(bytes.fromhex(source))
    assert _used(file, before)[0] == "True"
    _grow(earlier)
    assert _used(file, before)[0] == "True"
    (earlier / "subject.py").write_text(
        "class Point:\n    def __init__(self, x):\n        self.x = 8"
    )
    os.utime(earlier, (2e9, 2e9))
    assert _used(file, before) == ["False", "_frozen_importlib_external", "8"]


def _grow(folder: Path) -> None:
    """Nothing but its size is another, as on another file system; on tmpfs not even that."""
    before = folder.stat()
    files = [folder / f"{number:0200}" for number in range(100)]
    for one in files:
        one.touch()
    for one in files:
        one.unlink()
    os.utime(folder, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_of_another_vmnet_it_is_not_used(file: Path) -> None:
    assert _used(file, "precompiled.__file__ = sys.executable")[0] == "False"


def test_a_folder_in_its_place_is_not_used(file: Path) -> None:
    file.unlink()
    file.mkdir()
    assert _used(file)[0] == "False"


def test_without_it_all_is_imported_as_ever(file: Path) -> None:
    file.unlink()
    assert _used(file) == ["False", "_frozen_importlib_external", "7"]


_LATER = {
    "VMNET_DISK": "/comes/later",
    "VMNET_INITRD": "/comes/later",
    "VMNET_ACCEL": "kvm",
    "VMNET_MEMORY": "4096T",
}


def test_the_command_says_where_it_is(tmp_path: Path) -> None:
    """And needs nothing of what comes with a container, or with another host."""
    done = _command(tmp_path / "made", _LATER)
    assert done.stdout.startswith(f"{done.stdout.split()[0]} modules written to {tmp_path}/made, ")
    assert done.stderr == ""
    assert (tmp_path / "made").stat().st_size > 1 << 20


def test_a_strategy_s_own_file_that_comes_later_is_no_obstacle(tmp_path: Path) -> None:
    own = {"VMNET_IPAM": "cloudinit", "VMNET_USER_DATA": "/comes/later"}
    done = _command(tmp_path / "made", own)
    assert "the file lacks later imports: VMNET_USER_DATA=/comes/later" in done.stderr
    assert (tmp_path / "made").exists()


def test_a_setting_that_no_start_takes_is_an_error(tmp_path: Path) -> None:
    done = _command(tmp_path / "made", {"VMNET_CPUS": "many"})
    assert done.returncode == SettingsError.exit_code
    assert "VMNET_CPUS=many" in done.stderr
    assert not (tmp_path / "made").exists()


def _command(file: Path, settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": os.environ["PATH"], "VMNET_QEMU": "/bin/true", **settings}
    command = precompiling.command(file)
    return subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_folder_that_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precompiled, "PATH", "/proc/start")
    with pytest.raises(StateError, match="can't write /proc/start") as caught:
        precompile._write(b"")
    assert "root" in caught.value.hint


def test_only_the_program_can_make_it() -> None:
    with pytest.raises(UsageError, match="were not recorded") as caught:
        cli.main(["precompile"], {})
    assert "`vmnet precompile`" in caught.value.hint
    assert precompiled.recorder() is None
    assert not any(isinstance(one, precompiled.Recorder) for one in sys.meta_path)
