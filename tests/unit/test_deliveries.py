"""The paths of deliveries: only files of the plugin's own, below the run directory."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from attrs import evolve

import vmnet
from tests.unit import fakes
from vmnet import testing
from vmnet.errors import PluginError
from vmnet.hooks import deliveries
from vmnet.hooks.facade import Hooks
from vmnet.hooks.selection import Choice, Selection
from vmnet.model.delivery import Daemon, Delivery, File
from vmnet.model.devices import Tpm
from vmnet.model.names import shown

RUN = Path("/run/vmnet")
IDENTITY = testing.identity()
WIRING = testing.wiring(IDENTITY)
PLUGIN = "plugin fake (vmnet-fake 1.0)"


def test_the_daemon_of_a_device_writes_only_below_the_run_directory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    helper = Daemon("swtpm", ("/bin/true",), Path("/etc/swtpm.pid"))
    plugins = [
        fakes.install(monkeypatch, "fake", **fakes.GOOD),
        fakes.install(monkeypatch, "tpm", vmnet_devices=lambda: (Tpm(RUN / "tpm", helper),)),
    ]
    chosen = fakes.choose(plugins, "fake")
    selected = {**chosen.selection.choices, "VMNET_DEVICES": Choice(("fake", "tpm"), "")}
    with pytest.raises(PluginError) as caught:
        evolve(chosen, selection=Selection(selected)).devices(IDENTITY, WIRING)
    assert caught.value.message == (
        "plugin tpm (vmnet-tpm 1.0) returned /etc/swtpm.pid from vmnet_devices, "
        "which is not below the run directory"
    )


def hooks(monkeypatch: pytest.MonkeyPatch, delivery: Delivery) -> Hooks:
    return fakes.stages(monkeypatch, vmnet_ipam_deliver=lambda: delivery)


def daemon(pidfile: Path, log: Path | None = None) -> Delivery:
    return Delivery("fake", daemons=(Daemon("daemon", ("/bin/true",), pidfile, log),))


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("/etc/passwd", "is not below the run directory"),
        ("/run/vmnet", "is not below the run directory"),
        ("/run/vmnet/../passwd", "is not in its shortest form"),
        ("/run/vmnet/a/../b", "is not in its shortest form"),
        ("/run/vmnet/a\0b", "contains a NUL"),
        ("fake.conf", "is not below the run directory"),
        ("/run/vmnet/state.json", "is a file of vmnet"),
        ("/run/vmnet/guard.pid", "is a file of vmnet"),
        ("/run/vmnet/metrics.pid", "is a file of vmnet"),
        ("/run/vmnet/keeper-1.pid", "is a file of vmnet"),
        ("/run/vmnet/fake.pid.restarts", "is a file of vmnet"),
    ],
)
def test_a_path_that_is_not_the_plugins(
    path: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = RUN / "fake.pid"
    for delivery in (
        Delivery("fake", files=(File(Path(path), b""),)),
        daemon(Path(path)),
        daemon(good, Path(path)),
    ):
        with pytest.raises(PluginError) as caught:
            hooks(monkeypatch, delivery).deliver(IDENTITY, WIRING)
        expected = f"{PLUGIN} returned {shown(path)} from vmnet_ipam_deliver, which {fault}"
        assert caught.value.message == expected


def test_paths_that_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    files = tuple(File(RUN / name, b"") for name in ("fake.conf", "fake/state.json"))
    delivery = Delivery("fake", files=files)
    assert hooks(monkeypatch, delivery).deliver(IDENTITY, WIRING) == (delivery,)


def test_a_content_that_is_text(monkeypatch: pytest.MonkeyPatch) -> None:
    delivery = Delivery("fake", files=(File(RUN / "fake.conf", "text"),))  # type: ignore[arg-type]
    with pytest.raises(PluginError, match=r"content is str, not bytes"):
        hooks(monkeypatch, delivery).deliver(IDENTITY, WIRING)


def test_a_file_that_two_plugins_deliver(monkeypatch: pytest.MonkeyPatch) -> None:
    delivery = Delivery("both", files=(File(RUN / "same.conf", b""),))
    both = {**fakes.GOOD, "vmnet_ipam_deliver": lambda: delivery}
    plugins = [fakes.install(monkeypatch, name, **both) for name in ("fake", "other")]
    chosen = fakes.choose(plugins, "fake")
    selected = {**chosen.selection.choices, "VMNET_IPAM": Choice(("other", "fake"), "")}
    hooks = Hooks(chosen.plugins, Selection(selected), chosen.settings)
    with pytest.raises(PluginError) as caught:
        hooks.deliver(IDENTITY, WIRING)
    assert caught.value.message == (
        f"{PLUGIN} returned /run/vmnet/same.conf from vmnet_ipam_deliver, "
        "which plugin other (vmnet-other 1.0) has delivered already"
    )


def test_every_file_that_the_core_writes_is_reserved() -> None:
    """Modules name their files in a constant _FILE or at the place of use."""
    core = Path(vmnet.__file__).parent.rglob("*.py")
    sources = [path.read_text() for path in core if "strategies" not in path.parts]
    name = re.compile(r'^_FILE = "(.+)"|\brun_dir / "(.+?)"', re.MULTILINE)
    found = {first or second for text in sources for first, second in name.findall(text)}
    assert {"state.json", "allocations.json", "command.json", ".check"} <= found
    assert found <= deliveries.RESERVED
