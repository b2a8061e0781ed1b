"""What a start imports, in one file, which ``vmnet precompile`` writes and ``vmnet run`` reads.

A start imports more than 120 modules, which Python looks for and reads one by one, and attrs writes
and compiles an ``__init__`` for each data class. The result is the same every time. An image does
this once, when it is built.

A module is taken from the file on the condition that Python has for its own ``.pyc`` files: its
source has the time and size that it had. Otherwise, and where there is no file, it is imported as
ever. Only speed depends on the file, and is lost to whatever gives an image's files other dates.
"""

from __future__ import annotations

import marshal
import os
import sys
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import CodeType, ModuleType
    from typing import Any

    # Path, time in seconds and size of the source, and what it compiles to.
    _Module = tuple[str, int, int, CodeType]
    # What compile() was given, and what it made of it.
    _Compiled = dict[tuple[str, str, str], CodeType]

PATH = f"{os.path.dirname(__file__)}/__pycache__/start.{sys.implementation.cache_tag}.marshal"  # noqa: PTH120
# The module of attrs that compiles. The methods of nouns come out the same, unlike a `__hash__` by
# attrs, which holds a number that is another in each process.
_COMPILES = "attr._make"


def use() -> bool:
    """Import from the file from here on, if it is there and of this interpreter and its paths."""
    try:
        modules, compiled = _read()
    except (OSError, EOFError, SystemError, TypeError, ValueError):
        # There is none, it is another's or not open to us, or was cut short: a start does without.
        return False
    _ask(_Finder(modules, compiled))
    return True


def _read() -> tuple[dict[str, _Module], _Compiled]:
    """The content of the file.

    :raises ValueError: it is not for this interpreter, or not as it was written, for which marshal
        has some other errors, too
    """
    import mmap

    fd = os.open(PATH, os.O_RDONLY)
    try:
        mapped = mmap.mmap(fd, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
    finally:
        os.close(fd)
    heading = _heading()
    with mapped, memoryview(mapped) as content:
        if content[: len(heading)] != heading:
            raise ValueError(PATH)
        read: tuple[dict[str, _Module], _Compiled]
        read = marshal.loads(content[len(heading) :])
        return read


def record() -> Recorder:
    """Note from here on what is imported, and what attrs compiles."""
    recorder = Recorder()
    _ask(recorder)
    return recorder


def recorder() -> Recorder | None:
    """The one that :func:`record` has put to work."""
    return next((one for one in sys.meta_path if isinstance(one, Recorder)), None)


def _heading() -> bytes:
    """What the file must begin with: of another interpreter we could not even read on.

    The folders of ``sys.path`` have their time with them, for what comes into one of them later may
    go before what is in the file. Nothing comes before what is in the last. Their size says
    nothing: it is another on another file system.
    """
    path = [os.path.abspath(one) for one in sys.path]  # noqa: PTH100
    times = [stamp and stamp[0] for stamp in map(_stamp, path[:-1])]
    return f"{sys.version!r} {sys.flags.optimize} {_stamp(__file__)} {path} {times}\n".encode()


def _ask(finder: _Finder | Recorder) -> None:
    """Have imports ask it before they search the path, and after what is built in."""
    sys.meta_path.insert(sys.meta_path.index(PathFinder), finder)


class _Finder:
    """Finds modules in the file (importlib.abc.MetaPathFinder)."""

    def __init__(self, modules: dict[str, _Module], compiled: _Compiled) -> None:
        self._modules = modules
        self._compiled = compiled

    def find_spec(
        self, name: str, _path: Sequence[str] | None = None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        module = self._modules.get(name)
        if module is None or module[1:3] != _stamp(module[0]):
            return None
        return _spec(name, module[0], module[3], self._compile)

    def _compile(self, source: str, filename: str, mode: str) -> Any:
        return self._compiled.get((source, filename, mode)) or compile(source, filename, mode)


class Recorder:
    """Finds modules where they are, and keeps what they are compiled to."""

    def __init__(self) -> None:
        self._modules: dict[str, _Module] = {}
        self._compiled: _Compiled = {}

    def __enter__(self) -> None:
        _ask(self)

    def __exit__(self, *_: object) -> None:
        self.pause()

    def pause(self) -> None:
        """Note nothing until this is entered."""
        sys.meta_path.remove(self)

    def forget(self, name: str) -> None:
        """Leave out a module that no start imports."""
        self._modules.pop(name, None)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or not isinstance(spec.loader, SourceFileLoader):
            return spec
        origin = spec.loader.path
        stamp = _stamp(origin)  # before it is read, in case it changes meanwhile
        code = spec.loader.get_code(name)
        if stamp is None or code is None:
            return spec
        self._modules[name] = (origin, *stamp, code)
        return _spec(name, origin, code, self._compile)

    def _compile(self, source: str, filename: str, mode: str) -> Any:
        code = compile(source, filename, mode)
        self._compiled[source, filename, mode] = code
        return code

    def content(self) -> tuple[int, bytes]:
        """The number of modules, and what the file is to hold."""
        return len(self._modules), _heading() + marshal.dumps((self._modules, self._compiled))


class _Loader(SourceFileLoader):
    """Knows the code already; of all else that a loader is asked for, the source is the source."""

    def __init__(self, name: str, path: str, code: CodeType, compiler: Callable[..., Any]) -> None:
        super().__init__(name, path)
        self._code = code
        self._compiler = compiler

    def get_code(self, fullname: str) -> CodeType:
        return self._code

    def exec_module(self, module: ModuleType) -> None:
        """A module's own name goes before a builtin one, and so attrs' ``compile`` becomes ours.

        compile() inherits the future statements of who calls it; attrs has the one that we have.
        """
        if module.__name__ == _COMPILES:
            vars(module)["compile"] = self._compiler
        super().exec_module(module)


def _stamp(path: str) -> tuple[int, int] | None:
    """Time and size; None where there is no such file."""
    try:
        status = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return int(status.st_mtime), status.st_size


def _spec(name: str, origin: str, code: CodeType, compiler: Callable[..., Any]) -> ModuleSpec:
    loader = _Loader(name, origin, code, compiler)
    folder, _, file = origin.rpartition("/")
    is_package = file == "__init__.py"
    spec = ModuleSpec(name, loader, origin=origin, is_package=is_package)
    if is_package:
        spec.submodule_search_locations = [folder]
    spec.has_location = True
    spec.cached = PATH  # else Python works out where it would be
    return spec
