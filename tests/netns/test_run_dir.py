"""A run directory that another user has prepared: a start refuses it and changes nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.lab.net.lan import Lan
from tests.lab.net.snapshot import require_same
from tests.netns.conftest import Vmnet
from vmnet.errors import StateError

OTHER = 1000
SETTINGS = {"VMNET_IPAM": "dnsmasq,cloudinit", "VMNET_GUARD": "on", "VMNET_CONSOLE": "on"}


@pytest.mark.parametrize(("owner", "mode"), [(OTHER, 0o755), (OTHER, 0o777), (0, 0o777)])
def test_links_instead_of_the_files_of_a_start(
    network: Lan, vmnet: Vmnet, tmp_path: Path, owner: int, mode: int
) -> None:
    web = network.container("web", ipv6=True)
    with vmnet.running(web, **SETTINGS):
        names = [path.name for path in vmnet.run_dir.iterdir()]
    assert vmnet(web, "run", VMNET_QEMU="/nonexistent").returncode, "restores the network"
    assert {"state.json", "vm.json", "dnsmasq.conf", "dnsmasq.log", "seed.iso"} <= {*names}
    before = web.dump()
    trap, victims = tmp_path / "trap", tmp_path / "victims"
    trap.mkdir()
    victims.mkdir()
    # A set, because a helper may have been replacing a file.
    for name in {*names, *(f".{name}.new" for name in names), *(f".{name}" for name in names)}:
        victim = victims / name
        victim.write_text("root's")
        victim.chmod(0o600)
        (trap / name).symlink_to(victim)
        os.chown(trap / name, OTHER, OTHER, follow_symlinks=False)
    os.chown(trap, owner, owner)
    trap.chmod(mode)
    ended = vmnet(web, "run", VMNET_RUN_DIR=str(trap), **SETTINGS)
    assert ended.returncode == StateError.exit_code, ended.stderr
    assert f"{trap}" in ended.stderr
    checked = vmnet(web, "check", VMNET_RUN_DIR=str(trap), **SETTINGS)
    assert (checked.returncode, "run dir" in checked.stdout) == (1, True), checked.stdout
    require_same(before, web.dump())
    for victim in victims.iterdir():
        assert (victim.read_text(), victim.stat().st_mode & 0o777) == ("root's", 0o600), victim


def test_a_parent_folder_of_another_user(network: Lan, vmnet: Vmnet, tmp_path: Path) -> None:
    web = network.container("web")
    above = tmp_path / "above"
    above.mkdir()
    os.chown(above, OTHER, OTHER)
    ended = vmnet(web, "run", VMNET_RUN_DIR=str(above / "run"))
    assert ended.returncode == StateError.exit_code, ended.stderr
    assert f"{above} (user {OTHER}, mode 0755) does not belong to root" in ended.stderr
    assert list(above.iterdir()) == []


def test_a_record_of_another_user_is_refused(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web")
    vmnet.run_dir.mkdir()
    for name in ("state.json", "vm.json"):
        (vmnet.run_dir / name).write_text("{}")
        os.chown(vmnet.run_dir / name, OTHER, OTHER)
    for command in ("run", "status", "health"):
        ended = vmnet(web, command)
        assert ended.returncode != 0
        assert f"user {OTHER} owns it" in ended.stdout + ended.stderr, command


def test_an_open_volume_at_the_run_directory_is_closed_and_used(network: Lan, vmnet: Vmnet) -> None:
    """Kubernetes does this: root owns an emptyDir, with mode 0777."""
    web = network.container("web")
    vmnet.run_dir.mkdir()
    vmnet.run_dir.chmod(0o777)
    with vmnet.running(web):
        assert vmnet.run_dir.stat().st_mode & 0o7777 == 0o755


def test_the_longest_path_leaves_room_for_the_sockets(
    network: Lan, vmnet: Vmnet, tmp_path: Path
) -> None:
    path = tmp_path / ("a" * (89 - len(str(tmp_path))))
    assert len(str(path)) == 90
    with vmnet.running(network.container("web"), VMNET_RUN_DIR=str(path), VMNET_CONSOLE="on"):
        assert (path / "qmp.sock").is_socket()
