"""Read the modules of a start from one file that ``vmnet precompile`` writes.

A start imports more than 120 modules, which Python finds and reads one by one, and attrs generates
and compiles the methods of each data class. The result is always the same, so an image
computes it once, when it is built.

A module comes from the file under the condition that Python applies to its own ``.pyc`` files: its
source has the recorded modification time and size. Otherwise, or without the file, Python imports
the module as usual. Only the speed depends on the file. A tool that changes the dates of an
image's files makes starts slower.
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

    # Path, modification time in seconds and size of the source, and its compiled code.
    _Module = tuple[str, int, int, CodeType]
    # The arguments of compile() (source, file name, mode), and its result.
    _Compiled = dict[tuple[str, str, str], CodeType]

PATH = f"{os.path.dirname(__file__)}/__pycache__/start.{sys.implementation.cache_tag}.marshal"  # noqa: PTH120
# The module of attrs that compiles methods. Those of vmnet's data classes are the same in each
# process. A `__hash__` by attrs would not be: it contains a number that differs between processes.
_COMPILING_MODULE = "attr._make"


def use() -> bool:
    """Import from the file from now on, if it matches this interpreter and ``sys.path``.

    Return whether it does.
    """
    try:
        modules, compiled = _read()
    except (OSError, EOFError, SystemError, TypeError, ValueError):
        # The file is missing, unreadable, truncated or made by another interpreter. A start works
        # without it.
        return False
    _register(_Finder(modules, compiled))
    return True


def _read() -> tuple[dict[str, _Module], _Compiled]:
    """Return the content of the file.

    :raises ValueError: the file is for another interpreter, or damaged. For damage, marshal also
        raises EOFError, SystemError and TypeError.
    """
    import mmap

    fd = os.open(PATH, os.O_RDONLY)
    try:
        mapped = mmap.mmap(fd, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
    finally:
        os.close(fd)
    header = _header()
    with mapped, memoryview(mapped) as content:
        if content[: len(header)] != header:
            raise ValueError(PATH)
        unmarshalled: tuple[dict[str, _Module], _Compiled]
        unmarshalled = marshal.loads(content[len(header) :])
        return unmarshalled


def record() -> Recorder:
    """Record from now on which modules are imported, and what attrs compiles."""
    recorder = Recorder()
    _register(recorder)
    return recorder


def recorder() -> Recorder | None:
    """Return the active recorder that :func:`record` created, or None."""
    return next((finder for finder in sys.meta_path if isinstance(finder, Recorder)), None)


def _header() -> bytes:
    """Return the required first line of the file.

    It identifies the interpreter, because marshal data of another interpreter cannot be read. It
    contains the modification times of the folders in ``sys.path``, because a module that is added
    to a folder later may precede a module in the file. The last folder needs none: its modules
    precede no others. Folder sizes are left out, because they depend on the file system.
    """
    folders = [os.path.abspath(folder) for folder in sys.path]  # noqa: PTH100
    times = [stamp and stamp[0] for stamp in map(_stamp, folders[:-1])]
    return f"{sys.version!r} {sys.flags.optimize} {_stamp(__file__)} {folders} {times}\n".encode()


def _register(finder: _Finder | Recorder) -> None:
    """Make imports use a finder before ``sys.path``, but after builtin and frozen modules."""
    sys.meta_path.insert(sys.meta_path.index(PathFinder), finder)


class _Finder:
    """A finder of the modules in the file (importlib.abc.MetaPathFinder)."""

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
    """A finder that imports modules from their sources and records their code."""

    def __init__(self) -> None:
        self._modules: dict[str, _Module] = {}
        self._compiled: _Compiled = {}

    def __enter__(self) -> None:
        _register(self)

    def __exit__(self, *_: object) -> None:
        self.pause()

    def pause(self) -> None:
        """Pause recording. Entering the recorder resumes it."""
        sys.meta_path.remove(self)

    def forget(self, name: str) -> None:
        """Drop a module that no start imports."""
        self._modules.pop(name, None)

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or not isinstance(spec.loader, SourceFileLoader):
            return spec
        origin = spec.loader.path
        stamp = _stamp(origin)  # before the read, in case the file changes meanwhile
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
        """Return the number of modules and the content of the file."""
        return len(self._modules), _header() + marshal.dumps((self._modules, self._compiled))


class _Loader(SourceFileLoader):
    """A loader with precompiled code. All other requests go to the source file."""

    def __init__(self, name: str, path: str, code: CodeType, compiler: Callable[..., Any]) -> None:
        super().__init__(name, path)
        self._code = code
        self._compiler = compiler

    def get_code(self, fullname: str) -> CodeType:
        return self._code

    def exec_module(self, module: ModuleType) -> None:
        """Execute a module, and replace ``compile`` in the module of attrs that compiles methods.

        A module's global name precedes a builtin one. compile() inherits the future statements of
        the calling module; attrs and this module have the same one.
        """
        if module.__name__ == _COMPILING_MODULE:
            vars(module)["compile"] = self._compiler
        super().exec_module(module)


def _stamp(path: str) -> tuple[int, int] | None:
    """Return a file's modification time and size, or None if there is no such file."""
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
    spec.cached = PATH  # otherwise Python computes the path of a .pyc file
    return spec
