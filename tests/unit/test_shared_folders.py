"""Folders of the container that the guest can mount."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmnet import testing
from vmnet.errors import MachineError, SettingsError, VmnetError
from vmnet.model.devices import Base, Disk, SharedFolder
from vmnet.planning import capabilities, shared_folders


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


def test_a_guest_cannot_replace_its_own_disk(installed: Path, tmp_path: Path) -> None:
    settings = testing.settings({"VMNET_SHARE": str(tmp_path)})
    with pytest.raises(MachineError, match=r"would give the guest .*disk\.img"):
        shared_folders.plan(settings, (Disk(tmp_path / "disk.img", "raw"),))
    overlay = Disk(Path("/overlay"), "qcow2", base=Base(tmp_path / "disk.img", "raw"))
    with pytest.raises(MachineError, match=r"would give the guest .*disk\.img"):
        shared_folders.plan(settings, (overlay,))


def test_names_in_the_guest(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "is_dir", lambda _: True)
    assert "would both be a-b" in refusal(SettingsError, Path("/a/b"), Path("/a-b"))
    assert "longer than 36 bytes" in refusal(SettingsError, Path(f"/{'x' * 37}"))
    assert "more than 3" in refusal(SettingsError, *(Path(f"/d{n}") for n in range(4)))


def test_a_missing_virtiofsd(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(shared_folders, "_PLACES", ())
    assert "virtiofsd, which is not installed" in refusal(MachineError, Path("/opt"))
