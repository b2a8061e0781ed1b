"""Discovery: the same plugins as importlib.metadata finds, and a clear error for duplicates."""

from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import pytest

from vmnet.errors import PluginError
from vmnet.hooks.discovery import GROUP, Plugin, discover


def distribution(
    site: Path,
    name: str,
    entry_points: str,
    *,
    version: str = "1.0",
    folder: str = "",
    headers: str = "METADATA",
) -> Path:
    """Write the metadata of a distribution as pip does in site-packages."""
    metadata = site / (folder or f"{name.replace('-', '_')}-{version}.dist-info")
    metadata.mkdir(parents=True)
    (metadata / "entry_points.txt").write_text(entry_points)
    (metadata / headers).write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nSummary: Name: x\n\nName: y\n"
    )
    return metadata


def by_importlib(path: list[str]) -> set[Plugin]:
    """Return the plugins that importlib.metadata finds."""
    plugins: set[Plugin] = set()
    seen: set[str] = set()
    for distribution in importlib.metadata.distributions(path=path):
        name = distribution.name.lower().replace("-", "_")
        if name in seen:
            continue  # shadowed by an earlier folder; entry_points() ignores it as well
        seen.add(name)
        plugins |= {
            Plugin(entry.name, entry.value, distribution.name, distribution.version)
            for entry in distribution.entry_points
            if entry.group == GROUP
        }
    return plugins


def test_the_plugins_of_this_environment_are_those_of_importlib() -> None:
    plugins = discover()
    assert set(plugins) == by_importlib(sys.path)
    assert {"netns", "bridge", "dnsmasq", "nodhcp", "qemu"} <= {plugin.name for plugin in plugins}


def test_sorted_by_name_with_distribution_and_version(tmp_path: Path) -> None:
    distribution(
        tmp_path, "Some-Plugin", f"[{GROUP}]\nzfs = some_zfs\nceph=some_ceph\n", version="2.3"
    )
    assert discover([str(tmp_path)]) == (
        Plugin("ceph", "some_ceph", "Some-Plugin", "2.3"),
        Plugin("zfs", "some_zfs", "Some-Plugin", "2.3"),
    )
    assert str(discover([str(tmp_path)])[0]) == "ceph (Some-Plugin 2.3)"


@pytest.mark.parametrize(
    "entry_points",
    [
        "[vmnet]\na = one\n\n# b = two\n[other]\nc = three\n",
        "[console_scripts]\nvmnet = x:main\n\n[vmnet]\na=one\n",
        "[console_scripts]\nvmnet = x:main\n",
        "[vmnetwork]\na = one\n",
        "[vmnet]\n",
        "  [vmnet]\n  a  =  one\n",
        "",
    ],
)
def test_an_entry_points_file_is_read_like_importlib(tmp_path: Path, entry_points: str) -> None:
    distribution(tmp_path, "plugin", entry_points)
    assert set(discover([str(tmp_path)])) == by_importlib([str(tmp_path)])


def test_an_entry_point_with_extras(tmp_path: Path) -> None:
    distribution(tmp_path, "plugin", "[vmnet]\na = module [extra]\n")
    assert discover([str(tmp_path)])[0].module == "module"


def test_an_entry_point_that_names_an_object(tmp_path: Path) -> None:
    distribution(tmp_path, "vmnet-nfs", "[vmnet]\nnfs = module:plugin\n")
    with pytest.raises(PluginError) as caught:
        discover([str(tmp_path)])
    assert caught.value.message == (
        "the entry point of plugin nfs (vmnet-nfs 1.0) names plugin in module, not a module"
    )
    assert caught.value.hint == 'name the module that defines the hooks: `nfs = "module"`'


def test_two_distributions_with_plugins_of_the_same_name(tmp_path: Path) -> None:
    distribution(tmp_path, "vmnet-first", "[vmnet]\nnfs = first\n")
    distribution(tmp_path, "vmnet-second", "[vmnet]\nnfs = second\n")
    with pytest.raises(PluginError) as caught:
        discover([str(tmp_path)])
    assert (
        caught.value.message == "two distributions have a plugin nfs: vmnet-first and vmnet-second"
    )
    assert caught.value.hint == "remove one: `pip uninstall vmnet-second`"


@pytest.mark.parametrize("name", ["vmnet-nfs", "Vmnet.NFS", "vmnet_nfs"])
def test_an_earlier_folder_shadows_a_distribution_in_a_later_one(tmp_path: Path, name: str) -> None:
    """Such as a virtual environment on top of the system's packages."""
    near, far = tmp_path / "near", tmp_path / "far"
    distribution(near, name, "[vmnet]\nnfs = new\n", version="2.0", folder=f"{name}-2.0.dist-info")
    distribution(far, "vmnet_nfs", "[vmnet]\nnfs = old\nsmb = old\n")
    if name == "vmnet-nfs":  # the folder name of a wheel has no hyphen in the project name
        (near / f"{name}-2.0.dist-info").rename(near / "vmnet_nfs-2.0.dist-info")
    assert discover([str(near), str(far)]) == (Plugin("nfs", "new", name, "2.0"),)


def test_a_folder_that_is_on_the_path_twice(tmp_path: Path) -> None:
    distribution(tmp_path, "vmnet-nfs", "[vmnet]\nnfs = module\n")
    assert len(discover([str(tmp_path), str(tmp_path)])) == 1


def test_an_egg_info_folder(tmp_path: Path) -> None:
    """As `setup.py develop` creates it next to the sources."""
    distribution(
        tmp_path, "vmnet-nfs", "[vmnet]\nnfs = m\n", folder="vmnet_nfs.egg-info", headers="PKG-INFO"
    )
    assert discover([str(tmp_path)]) == (Plugin("nfs", "m", "vmnet-nfs", "1.0"),)


def test_entries_that_are_not_distributions_are_ignored(tmp_path: Path) -> None:
    """An egg-info file of distutils, a missing folder, an archive."""
    (tmp_path / "old-1.0.egg-info").write_text("Name: old\n")
    (tmp_path / "empty-1.0.dist-info").mkdir()
    (tmp_path / "dist-info").mkdir()
    archive = tmp_path / "python311.zip"
    archive.write_bytes(b"PK")
    assert discover([str(tmp_path), str(tmp_path / "absent"), str(archive)]) == ()


def test_a_distribution_without_headers(tmp_path: Path) -> None:
    (distribution(tmp_path, "nfs", "[vmnet]\nnfs = m\n") / "METADATA").unlink()
    assert discover([str(tmp_path)])[0].name == "nfs"


def test_malformed_entry_points_of_another_project_are_ignored(tmp_path: Path) -> None:
    (distribution(tmp_path, "stranger", "") / "entry_points.txt").write_bytes(b"[x]\n\xff = y\n")
    assert discover([str(tmp_path)]) == ()
