"""Plan the folders that the guest shares with the container, and their daemons."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from vmnet import engine, process, program
from vmnet.errors import MachineError, SettingsError
from vmnet.model.delivery import Daemon
from vmnet.model.devices import Cdrom, Device, Disk, SharedFolder, folder_tag
from vmnet.planning import capabilities
from vmnet.settings import core
from vmnet.settings.table import Settings

MAX = 3  # places in the machine
_TAG_BYTES = 36
# Those that keep owners, modes and special files as the guest sets them.
_NEEDED = ("SYS_CHROOT", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETGID", "SETUID")
_OPTIONAL = ("MKNOD", "SETFCAP")
_SYSTEM = tuple(map(Path, ("/proc", "/sys", "/dev")))
_PROGRAMS = tuple(map(Path, ("/etc", "/usr/bin", "/usr/lib")))
_STATES = ("downloads", "tpm")  # in VMNET_DISK_STATE, with content that only vmnet may change
# QEMU's own virtiofsd, up to QEMU 7.2, has other options than its successor.
_LEGACY = Path("/usr/lib/qemu/virtiofsd")
_PLACES = (Path("/usr/libexec/virtiofsd"), Path("/usr/lib/virtiofsd"), _LEGACY)


def plan(settings: Settings, devices: Iterable[Device]) -> tuple[SharedFolder, ...]:
    """Return the shared folders of the settings.

    :param devices: the other devices, whose files the guest must not be able to replace
    :raises MachineError: a folder is missing or must not be shared, or virtiofsd is missing
    :raises SettingsError: there are too many folders, or two have one name in the guest
    """
    folders = settings[core.SHARE] or ()
    if not folders:
        return ()
    state = settings[core.DISK_STATE]
    closed = (*_SYSTEM, settings[core.RUN_DIR], *(state / name for name in _STATES))
    own = (*_PROGRAMS, state, *_files(devices))
    for folder in folders:
        _require_shareable(folder, own, closed)
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
        capabilities=_NEEDED,
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


def _files(devices: Iterable[Device]) -> Iterator[Path]:
    for device in devices:
        if isinstance(device, Disk | Cdrom):
            yield device.path
        if isinstance(device, Disk) and device.base is not None:
            yield device.base.path


def _require_shareable(folder: Path, own: Iterable[Path], closed: tuple[Path, ...]) -> None:
    """Refuse a folder that contains one of the container's own files.

    :param closed: folders within which nothing is shared either
    """
    given = f"VMNET_SHARE={folder}"
    if not folder.is_dir():
        raise MachineError(
            f"{given}: there is no such folder in the container", engine.mount_folder(folder)
        )
    real = Path(os.path.realpath(folder))
    for path in (*closed, *own):
        inner = Path(os.path.realpath(path))  # unlike resolve(), of a symlink loop, too
        if real == inner or real in inner.parents or (path in closed and inner in real.parents):
            raise MachineError(
                f"{given} would give the guest {path} of the container",
                "share a folder that contains only the guest's data",
            )
