"""Plan the folders that the guest shares with the container, and their daemons."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from vmnet import engine, process, program
from vmnet.errors import MachineError, SettingsError
from vmnet.model.delivery import Daemon
from vmnet.model.devices import SharedFolder, folder_tag
from vmnet.planning import capabilities
from vmnet.planning.storage import own_files
from vmnet.planning.storage.mounts import Mounts
from vmnet.planning.storage.own_files import OwnFile
from vmnet.settings import core
from vmnet.settings.table import Settings

MAX = 3  # places in the machine
_TAG_BYTES = 36
# Those that keep special files and file capabilities as the guest sets them.
_OPTIONAL = ("MKNOD", "SETFCAP")
# /run/secrets: of the engine, and of Kubernetes at /var/run/secrets.
_SYSTEM = tuple(map(Path, ("/proc", "/sys", "/dev", "/run/secrets", "/var/run/secrets")))
_PROGRAMS = tuple(map(Path, ("/etc", "/usr/bin", "/usr/lib")))
_STATES = ("downloads", "tpm")  # in VMNET_DISK_STATE, with content that only vmnet may change
# QEMU's own virtiofsd, up to QEMU 7.2, has other options than its successor.
_LEGACY = Path("/usr/lib/qemu/virtiofsd")
_PLACES = (Path("/usr/libexec/virtiofsd"), Path("/usr/lib/virtiofsd"), _LEGACY)


def plan(settings: Settings, own: Iterable[OwnFile]) -> tuple[SharedFolder, ...]:
    """Return the shared folders of the settings.

    :param own: the files of the VM, which the guest must not be able to read or replace there
    :raises MachineError: a folder is missing or must not be shared, or virtiofsd is missing
    :raises SettingsError: there are too many folders, or two have one name in the guest
    """
    folders = settings[core.SHARE] or ()
    if not folders:
        return ()
    state = settings[core.DISK_STATE]
    closed = (*_SYSTEM, settings[core.RUN_DIR], *(state / name for name in _STATES))
    hidden = (
        *(OwnFile("", path) for path in (*closed, *_PROGRAMS)),
        OwnFile(core.DISK_STATE.name, state),
        *own,
        *own_files.mentioned(settings),
    )
    mounts = Mounts.read()
    for folder in folders:
        _require_shareable(folder, mounts, hidden, closed)
    _require_names(folders)
    path = _find()
    run_dir = settings[core.RUN_DIR]
    return tuple(_shared(run_dir, number, path, folder) for number, folder in enumerate(folders))


def _shared(run_dir: Path, number: int, path: Path, folder: Path) -> SharedFolder:
    tag = folder_tag(folder)
    name = f"virtiofsd{number}"  # short, because the path of a socket is limited
    socket, pidfile, log = (run_dir / f"{name}.{ending}" for ending in ("sock", "pid", "log"))
    words = (socket, pidfile, log, path, *_options(path, folder))
    daemon = Daemon(
        f"virtiofsd of {folder}",
        program.command("vmnet.supervision.vhost_user", *words, light=True),
        pidfile,
        log,
        capabilities=capabilities.needed_by(capabilities.SHARE),
        resumes=False,  # QEMU connects only once
    )
    return SharedFolder(folder, tag, socket, daemon)


def _options(path: Path, folder: Path) -> Iterator[str]:
    lacking = ":".join(f"-{name.lower()}" for name in _OPTIONAL if not capabilities.has(name))
    if path == _LEGACY:
        changed = (f"modcaps={lacking}",) if lacking else ()
        for option in (f"source={folder}", "sandbox=chroot", "log_level=err", *changed):
            yield from ("-o", option)
        return
    yield f"--shared-dir={folder}"
    yield from ("--sandbox=chroot", "--log-level=error")
    if lacking:
        yield f"--modcaps={lacking}"


def _find() -> Path:
    found = process.find("virtiofsd") or next((path for path in _PLACES if path.exists()), None)
    if found is None:
        raise MachineError(
            "VMNET_SHARE needs virtiofsd, which is not installed",
            "the image contains it; elsewhere `apt-get install virtiofsd`",
        )
    return found


def _require_names(folders: tuple[Path, ...]) -> None:
    given = f"VMNET_SHARE={','.join(map(str, folders))}"
    if len(folders) > MAX:
        raise SettingsError(f"{given} has more than {MAX} folders", "share a folder above them")
    names: dict[str, Path] = {}
    for folder in folders:
        name = folder_tag(folder)
        if len(name) > _TAG_BYTES:
            raise SettingsError(
                f"{given}: the guest's name for {folder} would be longer than {_TAG_BYTES} bytes",
                "mount the folder at a shorter path in the container",
            )
        if name in names:
            raise SettingsError(
                f"{given}: {names[name]} and {folder} would both be {name} in the guest",
                "mount one of them at another path in the container",
            )
        names[name] = folder


def _require_shareable(
    folder: Path, mounts: Mounts, own: tuple[OwnFile, ...], closed: tuple[Path, ...]
) -> None:
    """Refuse a folder in which the guest would see one of the container's own files.

    :param closed: folders within which nothing is shared either
    """
    given = f"VMNET_SHARE={folder}"
    if not folder.is_dir():
        raise MachineError(
            f"{given}: there is no such folder in the container", engine.mount_folder(folder)
        )
    real, place, seen = folder.resolve(), mounts.place(folder), tuple(mounts.below(folder))
    for path in closed:
        # By the path also if another file system is mounted there, as at /dev/shm.
        is_below = real.is_relative_to(os.path.realpath(path))
        if is_below or place.is_within(mounts.place(path)):
            raise _refused(given, str(path))
    for file in own:
        inner = mounts.place(file.path)
        if any(inner.is_within(outer) for outer in seen):
            raise _refused(given, str(file))
    if (linked := _linked_in(folder, own)) is not None:
        raise _refused(given, str(linked))


def _linked_in(folder: Path, own: tuple[OwnFile, ...]) -> OwnFile | None:
    """Return one of the files if a folder contains another hard link to it."""
    linked: dict[tuple[int, int], OwnFile] = {}
    for file in own:
        with suppress(OSError):  # a start makes it
            status = file.path.stat()
            if status.st_nlink > 1 and stat.S_ISREG(status.st_mode):
                linked[status.st_dev, status.st_ino] = file
    if not linked:
        return None
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # removed meanwhile
                status = os.lstat(os.path.join(parent, name))  # noqa: PTH118
                if found := linked.get((status.st_dev, status.st_ino)):
                    return found
    return None


def _refused(given: str, what: str) -> MachineError:
    return MachineError(
        f"{given} would give the guest {what} of the container",
        "share a folder that contains only the guest's data",
    )
