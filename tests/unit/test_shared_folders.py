"""Folders of the container that the guest can mount."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.wait import WAIT
from vmnet import testing
from vmnet.errors import MachineError, SettingsError, VmnetError
from vmnet.model.devices import SharedFolder
from vmnet.planning import capabilities
from vmnet.planning.storage import shared_folders
from vmnet.planning.storage.own_files import OwnFile
from vmnet.settings import values
from vmnet.settings.table import optional


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A virtiofsd in PATH."""
    program = tmp_path / "bin/virtiofsd"
    program.parent.mkdir()
    program.touch(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    return program


def planned(*folders: Path, **environ: str) -> tuple[SharedFolder, ...]:
    given = {"VMNET_SHARE": ",".join(map(str, folders)), **environ}
    return shared_folders.plan(testing.settings(given), ())


def refusal(error: type[VmnetError], *folders: Path, **environ: str) -> str:
    with pytest.raises(error) as caught:
        planned(*folders, **environ)
    return str(caught.value)


def test_a_daemon_for_each_folder(installed: Path) -> None:
    first, second = planned(Path("/usr/share"), Path("/opt"), VMNET_RUN_DIR="/run/vm")
    assert (first.tag, first.folder) == ("usr-share", Path("/usr/share"))
    assert first.socket == Path("/run/vm/virtiofsd0.sock")
    words = first.daemon.argv
    assert {str(installed), "--shared-dir=/usr/share", "--sandbox=chroot"} < set(words)
    assert second.tag == "opt"
    run_dir = "/run/" + "x" * 85  # as long as it may be
    (third,) = planned(Path("/usr/local/share"), VMNET_RUN_DIR=run_dir)
    assert len(str(third.socket)) <= 107
    own, others = ({d.pidfile, d.log} for d in (first.daemon, second.daemon))
    assert not own & others


def test_capabilities_that_the_container_lacks(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capabilities, "held", lambda: 0)
    (only,) = planned(Path("/opt"))
    assert "--modcaps=-mknod:-setfcap" in only.daemon.argv


def test_nothing_is_shared_by_default() -> None:
    assert shared_folders.plan(testing.settings({}), ()) == ()


def test_what_is_never_shared(installed: Path, tmp_path: Path) -> None:
    assert "there is no such folder" in refusal(MachineError, tmp_path / "none")
    for folder in ("/proc", "/sys/class", "/dev/shm", "/run"):
        assert "would give the guest" in refusal(MachineError, Path(folder)), folder
    run_dir = tmp_path / "data/run"
    run_dir.mkdir(parents=True)
    message = refusal(MachineError, tmp_path / "data", VMNET_RUN_DIR=str(run_dir))
    assert f"would give the guest {run_dir}" in message
    for name in ("etc", "usr", "usr/lib"):  # a guest could replace the container's programs
        assert "would give the guest" in refusal(MachineError, Path("/", name)), name
    downloads = tmp_path / "state/downloads"
    downloads.mkdir(parents=True)
    message = refusal(MachineError, downloads, VMNET_DISK_STATE=str(tmp_path / "state"))
    assert f"would give the guest {downloads}" in message
    loop = tmp_path / "loop"
    loop.symlink_to("loop")
    assert planned(Path("/opt"), VMNET_DISK_STATE=str(loop))
    link = tmp_path / "link"
    link.symlink_to("/proc")
    assert "would give the guest /proc" in refusal(MachineError, link)


def test_secrets_of_the_engine_are_never_shared(installed: Path, tmp_path: Path) -> None:
    for name in ("/run/secrets", "/var/run/secrets"):
        assert shared_folders._SYSTEM.count(Path(name)) == 1


@pytest.fixture
def data() -> Iterator[Path]:
    """A folder to share, with a file that the VM uses. Its path is short, as the guest's name."""
    with tempfile.TemporaryDirectory(prefix="vmnet-") as folder:
        made = Path(folder).resolve() / "data"
        made.mkdir()
        (made / "file").write_bytes(bytes(512))
        yield made


def refused(folder: Path, file: Path, **environ: str) -> str:
    """Return the error for a shared folder with a file of the VM."""
    settings = testing.settings({"VMNET_SHARE": str(folder), **environ})
    with pytest.raises(MachineError) as caught:
        shared_folders.plan(settings, [OwnFile("VMNET_DISK2", file)])
    return caught.value.message


def test_a_guest_cannot_replace_a_file_of_its_vm(installed: Path, data: Path) -> None:
    message = f"VMNET_SHARE={data} would give the guest VMNET_DISK2={{}} of the container"
    assert refused(data, data / "file") == message.format(data / "file")
    assert refused(data, data / "new") == message.format(data / "new")  # a start makes it
    symbolic, hard = data.with_name("symbolic"), data.with_name("hard")
    symbolic.symlink_to(data / "file")
    assert refused(data, symbolic) == message.format(symbolic)
    (data / "below").mkdir()
    (data / "below/link").hardlink_to(data / "file")
    hard.hardlink_to(data / "file")
    (data / "file").unlink()
    assert refused(data, hard) == message.format(hard)
    (data / "below/link").unlink()
    assert shared_folders.plan(
        testing.settings({"VMNET_SHARE": str(data)}), [OwnFile("VMNET_DISK2", hard)]
    )


def test_a_folder_is_searched_once_for_links_to_all_files(
    installed: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may contain millions of files."""
    walked: list[Path] = []
    walk = os.walk

    def counting_walk(folder: Path) -> Iterator[tuple[str, list[str], list[str]]]:
        walked.append(folder)
        return walk(folder)

    monkeypatch.setattr(os, "walk", counting_walk)
    settings = testing.settings({"VMNET_SHARE": str(data)})
    files = [data.with_name(name) for name in ("alone", "first", "second")]
    own = [OwnFile("VMNET_DISK2", file) for file in files]
    for file in files:
        file.touch()
    shared_folders.plan(settings, own)
    assert walked == [], "without links there is nothing to search"
    for file in files[1:]:
        file.with_name(f"{file.name}-link").hardlink_to(file)
    shared_folders.plan(settings, own)
    assert walked == [data]


def test_a_guest_cannot_read_what_an_argument_for_qemu_names(installed: Path, data: Path) -> None:
    words = optional("VMNET_QEMU_ARGS", values.shell_words, "words")
    environ = {
        "VMNET_SHARE": str(data),
        "VMNET_QEMU_ARGS": f"-object secret,id=a,file={data}/file -no-hpet",
    }
    with pytest.raises(MachineError, match=f"would give the guest VMNET_QEMU_ARGS={data}/file"):
        shared_folders.plan(testing.settings(environ, words), ())


_BOUND = """
import sys
from pathlib import Path
from vmnet import testing
from vmnet.errors import MachineError
from vmnet.planning.storage import shared_folders
from vmnet.planning.storage.own_files import OwnFile
settings = testing.settings({"VMNET_SHARE": sys.argv[1]})
try:
    shared_folders.plan(settings, [OwnFile("VMNET_KERNEL", Path(sys.argv[2]))])
except MachineError as error:
    print(error.message)
"""


@pytest.mark.parametrize(
    ("mounts", "is_refused"),
    [
        ("mount -B data/file kernel", True),
        ("mount -B data/below other", False),
        ("mount -B data other; mount -B other/file kernel", True),
        # The guest sees what is mounted in the shared folder.
        (
            "mount -t tmpfs tmpfs data/below; touch data/below/k; mount -B data/below/k kernel",
            1,
        ),
        ("mount -t tmpfs tmpfs other; touch other/k; mount -B other/k kernel", False),
    ],
)
def test_a_bind_mount_hides_nothing(
    installed: Path, data: Path, mounts: str, is_refused: bool
) -> None:
    kernel = data.with_name("kernel")
    kernel.touch()
    for folder in (data / "below", data.with_name("other")):
        folder.mkdir()
    script = f"set -e; {mounts}; exec {sys.executable} - {data} {kernel}"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script],
        input=_BOUND,
        cwd=data.parent,
        env={"PATH": f"{installed.parent}:{os.defpath}:/usr/sbin:/sbin"},
        capture_output=True,
        text=True,
        check=True,
        timeout=WAIT,
    )
    error = f"VMNET_SHARE={data} would give the guest VMNET_KERNEL={kernel} of the container\n"
    assert done.stdout == (error if is_refused else "")


def test_names_in_the_guest(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "is_dir", lambda _: True)
    assert "would both be a-b" in refusal(SettingsError, Path("/a/b"), Path("/a-b"))
    assert "longer than 36 bytes" in refusal(SettingsError, Path(f"/{'x' * 37}"))
    assert "more than 3" in refusal(SettingsError, *(Path(f"/d{n}") for n in range(4)))


def test_a_missing_virtiofsd(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(shared_folders, "_PLACES", ())
    assert "virtiofsd, which is not installed" in refusal(MachineError, Path("/opt"))
