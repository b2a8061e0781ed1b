"""vmnet.testing, the test kit for authors of plugins."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tests.unit import fakes
from vmnet import testing
from vmnet.errors import AllocationError
from vmnet.model.delivery import Delivery
from vmnet.strategies.netns import capture
from vmnet.testing import namespace, watch
from vmnet.testing.namespace import Container
from vmnet.testing.recording import Recorder

NAMESPACES = Path("/run/netns")
HERE = Path("/proc/thread-self/ns/net")


def namespaces() -> set[str]:
    return {path.name for path in NAMESPACES.iterdir()} if NAMESPACES.exists() else set()


def test_a_container_s_eth0(vmnet_container: Container) -> None:
    """The capture finds the same in the fixture as in a container."""
    with vmnet_container.entered():
        identity = capture.vmnet_capture(testing.settings())
    (eth0,) = identity.interfaces
    assert (eth0.name, eth0.kind, [*map(str, eth0.addresses)]) == ("eth0", "veth", ["10.77.0.2/24"])
    route = eth0.default_route(4)
    assert route is not None
    assert str(route.gateway) == "10.77.0.1"


def test_the_router_answers() -> None:
    with namespace.container("10.9.0.5/16", "fd00:9::5/64", gateway="10.9.0.1", mtu=1450) as made:
        assert "1 received" in made.run("ping", "-c1", "-W5", "10.9.0.1")
        links = made.run("ip", "address", "show", "eth0")
    assert "mtu 1450" in links
    assert "fd00:9::5/64" in links


def test_the_thread_returns_and_nothing_remains() -> None:
    here = HERE.readlink()
    with namespace.container() as made:
        assert made.name in namespaces()
        with made.entered():
            assert HERE.readlink() != here
            assert [name for _, name in socket.if_nameindex()] == ["lo", "eth0"]
        assert HERE.readlink() == here
        with pytest.raises(ZeroDivisionError), made.entered():
            raise ZeroDivisionError
        assert HERE.readlink() == here
    assert not [name for name in namespaces() if name.startswith(made.name)]


def test_nothing_remains_if_the_setup_fails() -> None:
    with pytest.raises(RuntimeError, match="ip -n"), namespace.container(mac="no MAC"):
        pass
    assert not [name for name in namespaces() if name.startswith(f"vmnet-test-{os.getpid()}-")]


def test_side_effects_are_reported(tmp_path: Path) -> None:
    with watch.effects() as seen:
        (tmp_path / "written").write_text("")
        (tmp_path / "written").read_text()
        Path(os.devnull).write_text("")
        (tmp_path / "written").unlink()
    assert seen == [f"writes {tmp_path / 'written'}", f"changes {tmp_path / 'written'}"]
    (tmp_path / "later").touch()
    assert len(seen) == 2, "the watch has ended"


def test_a_recorder_records_calls() -> None:
    recorder = Recorder(vmnet_devices=())
    stages = recorder.hooks()
    identity = stages.capture()
    wiring = testing.wiring(identity)
    assert stages.deliver(identity, wiring) == (Delivery("recorder"),)
    stages.devices(identity, wiring)
    assert recorder.names() == ["vmnet_capture", "vmnet_ipam_deliver", "vmnet_devices"]
    assert recorder.calls[-1].given == {"identity": identity, "wiring": wiring}


def test_a_recorder_serves_the_stages_that_are_not_selected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = fakes.install(
        monkeypatch, "own", vmnet_ipam_deliver=lambda settings, identity, wiring: Delivery("own")
    )
    recorder = Recorder()
    stages = recorder.hooks({"VMNET_IPAM": "own"}, own)
    assert stages.deliver(stages.capture(), testing.wiring(testing.identity())) == (
        Delivery("own"),
    )
    assert [(call.hook, call.plugin) for call in recorder.calls] == [
        ("vmnet_settings", "recorder"),
        ("vmnet_capture", "recorder"),
        ("vmnet_ipam_deliver", "own"),
    ]


def test_a_recorder_raises_a_result_that_is_an_exception() -> None:
    error = AllocationError("none left", "ask for more")
    recorder = Recorder(vmnet_ipam_allocate=error, vmnet_ipam_release=None)
    with pytest.raises(AllocationError) as caught:
        recorder.hooks().allocate("recorder", testing.identity())
    assert caught.value is error


def test_a_container_is_ready_when_the_kernel_changes_nothing_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its link-local address comes late, and is tentative for a moment."""
    shown = ["", "inet6 fe80::1/64 scope link tentative", "inet6 fe80::1/64 scope link"]
    monkeypatch.setattr(namespace, "_ip", lambda *_: shown.pop(0))
    namespace._await_link_local("container")
    assert not shown
