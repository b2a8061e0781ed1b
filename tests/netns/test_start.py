"""A start in a real network namespace: the result of a success, and the undo of a failure."""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from tests.lab.command import Completed
from tests.lab.net.lan import Lan, lan
from tests.lab.net.namespace import Namespace
from tests.lab.net.snapshot import Json, require_same
from tests.lab.wait import WAIT, until
from tests.netns.conftest import VMNET, Vmnet
from vmnet.errors import (
    BridgeError,
    CaptureError,
    DeliveryError,
    LaunchError,
    PrivilegeError,
    VmnetError,
)


@pytest.fixture
def web(network: Lan) -> Namespace:
    """Create a container with addresses and routes of several kinds."""
    return network.container(
        "web",
        ipv6=True,
        extra=("172.30.1.200/24", "fd00:30:1::200/64 nodad"),
        routes=(
            "10.1.0.0/16 via 172.30.1.1 metric 50",
            "10.2.0.0/16 via 172.30.1.1 mtu 1400",
            "169.254.1.1 dev eth0 scope link",
            "fd00:99::/64 via fd00:30:1::1",
        ),
    )


def test_the_bridge_connects_the_nic_and_the_guest(web: Namespace, vmnet: Vmnet) -> None:
    with vmnet.running(web):
        eth0, br0, tap0 = (web.link(name) for name in ("eth0", "br0", "tap0"))
        addresses = {(address["dev"], address["local"]) for address in web.addresses()}
    assert eth0
    assert br0
    assert tap0
    assert (eth0["master"], tap0["master"]) == ("br0", "br0")
    assert len({web.mac, eth0["address"], br0["address"], tap0["address"]}) == 4
    assert all("UP" in link["flags"] for link in (eth0, br0, tap0))
    assert {dev for dev, _ in addresses} == {"lo", "br0"}
    (own,) = (address for dev, address in addresses if dev == "br0")
    assert own.startswith("169.254.")


def test_the_bridge_does_not_answer_for_the_guests_address(
    network: Lan, web: Namespace, vmnet: Vmnet
) -> None:
    station = network.station()
    with vmnet.running(web):
        asked = station.run("arping", "-c2", "-w2", "-I", "eth0", web.address, check=False)
    assert asked.returncode == 1, asked.stdout


def test_the_vm_is_pid_1_and_there_are_no_zombies(web: Namespace, vmnet: Vmnet) -> None:
    # The stand-in for QEMU and its sleep, the test's own unshare, and the helpers.
    expected = [
        *("dnsmasq", "hypervisor", "sleep", "unshare"),
        *("vmnet-guard", "vmnet-keeper", "vmnet-responder"),
    ]

    def names() -> list[str]:
        return sorted(web.names().values())

    with vmnet.running(web, VMNET_GUARD="on") as process:
        until(lambda: names() == expected, WAIT, str(expected), detail=lambda: str(names()))
        states = {Path(f"/proc/{pid}/stat").read_text().split()[2] for pid in web.pids()}
        process.signal(signal.SIGKILL)
    assert "Z" not in states


def test_only_the_hypervisor_holds_the_tap(web: Namespace, vmnet: Vmnet) -> None:
    """A helper with the tap could send frames as the guest, and would keep the tap alive."""

    with vmnet.running(web, VMNET_GUARD="on"):
        holders = {name for pid, name in web.names().items() if _has_open(pid, "/dev/net/tun")}
        assert holders - {"sleep"} == {"hypervisor"}


def _has_open(pid: int, path: str) -> bool:
    with suppress(FileNotFoundError, ProcessLookupError):  # the process has ended
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # it has closed the file
                if fd.readlink() == Path(path):
                    return True
    return False


@pytest.mark.parametrize(
    ("settings", "error", "named"),
    [
        ({"VMNET_QEMU": "/nonexistent"}, LaunchError, "VMNET_QEMU=/nonexistent"),
        (
            {"VMNET_INTERFACES": "eth7", "VMNET_INTERFACES_TIMEOUT": "0"},
            CaptureError,
            "VMNET_INTERFACES=eth7",
        ),
        ({"PATH": "/nonexistent"}, DeliveryError, "dnsmasq is not installed"),
    ],
)
def test_a_missing_requirement_is_reported_before_any_change(
    web: Namespace,
    vmnet: Vmnet,
    settings: dict[str, str],
    error: type[VmnetError],
    named: str,
) -> None:
    before = web.dump()
    ended = _run(vmnet, web, **settings)
    assert (ended.returncode, named in ended.stderr) == (error.exit_code, True), ended.stderr
    assert "hint:" in ended.stderr
    assert "Traceback" not in ended.stderr
    require_same(before, web.dump())
    assert not (vmnet.run_dir / "state.json").exists()


def test_a_dnsmasq_that_fails_is_reported_and_the_start_undone(
    web: Namespace, vmnet: Vmnet, tmp_path: Path
) -> None:
    before = web.dump()
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "dnsmasq").write_text("#!/bin/sh\necho 'this dnsmasq is broken' >&2\nexit 3\n")
    (folder / "dnsmasq").chmod(0o755)
    ended = _run(vmnet, web, PATH=f"{folder}:{os.environ['PATH']}")
    assert ended.returncode == DeliveryError.exit_code
    assert "dnsmasq ended with status 3: this dnsmasq is broken" in ended.stderr
    require_same(before, web.dump())


def _broken_program(folder: Path) -> Path:
    """Write an executable file that the kernel refuses to execute."""
    path = folder / "broken"
    path.write_bytes(b"\x7fELF but not really")
    path.chmod(0o755)
    return path


def test_a_hypervisor_that_cannot_be_executed_undoes_the_start(
    web: Namespace, vmnet: Vmnet, tmp_path: Path
) -> None:
    before = web.dump()
    broken = _broken_program(tmp_path)
    ended = _run(vmnet, web, VMNET_QEMU=str(broken))
    assert ended.returncode == LaunchError.exit_code, ended.stderr
    assert f"can't execute {broken}" in ended.stderr
    require_same(before, web.dump())
    assert web.pids_of("dnsmasq") == []


def test_a_start_that_has_given_up_its_capabilities_leaves_the_undo_to_the_next(
    web: Namespace, vmnet: Vmnet, tmp_path: Path
) -> None:
    """QEMU as root, and no SETPCAP: the capabilities are gone before the exec, which fails."""
    before = web.dump()
    broken = _broken_program(tmp_path)
    environ = {**vmnet.environ, "VMNET_QEMU": str(broken), "VMNET_USER": "root"}
    without = ("setpriv", "--bounding-set", "-setpcap", "--inh-caps", "-setpcap")
    ended = web.run(*without, *VMNET, "run", env=environ, check=False)
    assert ended.returncode == LaunchError.exit_code, ended.stderr
    assert "the network could not be restored: no permission to" in ended.stderr
    assert "the next start restores it" in ended.stderr
    assert "the network is as it was" not in ended.stderr
    assert (vmnet.run_dir / "state.json").exists()
    ended = _run(vmnet, web, VMNET_QEMU=str(broken))
    assert ended.returncode == LaunchError.exit_code, ended.stderr
    require_same(before, web.dump())


def test_a_foreign_bridge_named_br0_is_left_unchanged(web: Namespace, vmnet: Vmnet) -> None:
    web.ip("link", "add", "br0", "type", "bridge")
    before = web.dump()
    ended = _run(vmnet, web)
    assert ended.returncode == BridgeError.exit_code
    assert "the interface br0 already exists" in ended.stderr
    require_same(before, web.dump())


def test_without_net_admin_nothing_changes(web: Namespace, vmnet: Vmnet) -> None:
    before = web.dump()
    ended = web.run(
        *("setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin"),
        *(*VMNET, "run"),
        env=vmnet.environ,
        check=False,
    )
    assert ended.returncode == PrivilegeError.exit_code, ended.stderr
    errors = [line for line in ended.stderr.splitlines() if "error:" in line or "hint:" in line]
    assert errors == [
        "vmnet: error: the container lacks the capability NET_ADMIN, which the bridge needs",
        "vmnet: hint: run the container with `--cap-add NET_ADMIN`, or set `-e "
        "VMNET_BRIDGE=auto,passt` for a user-mode network",
    ]
    require_same(before, web.dump())
    assert not (vmnet.run_dir / "state.json").exists()


def test_without_a_tun_device_nothing_changes(web: Namespace, vmnet: Vmnet) -> None:
    """The container can't create one, as with `--cap-drop MKNOD` or in a user namespace."""
    before = web.dump()
    hidden = 'mount -t tmpfs none /dev/net && exec "$@"'
    ended = web.run(
        *("unshare", "--mount", "sh", "-ec", hidden, "sh"),
        *("setpriv", "--bounding-set", "-mknod", "--inh-caps", "-mknod"),
        *(*VMNET, "run"),
        env=vmnet.environ,
        check=False,
    )
    assert ended.returncode == PrivilegeError.exit_code, ended.stderr
    assert "/dev/net/tun does not exist and can't be created" in ended.stderr
    assert "--device /dev/net/tun" in ended.stderr
    require_same(before, web.dump())


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_the_start_undoes_it(
    web: Namespace, vmnet: Vmnet, tmp_path: Path, signal_number: signal.Signals
) -> None:
    before = web.dump()
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "dnsmasq").write_text(f"#!/bin/sh\n: > {tmp_path}/reached\nexec sleep 600\n")
    (folder / "dnsmasq").chmod(0o755)
    environ = {**vmnet.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    with web.popen(*VMNET, "run", env=environ, pid=True) as process:
        until((tmp_path / "reached").exists, WAIT, "dnsmasq to be started", detail=process.output)
        assert web.link("br0")
        process.signal(signal_number)
        assert process.wait(WAIT) == 128 + signal_number
        assert f"interrupted by {signal_number.name}" in process.output()
    require_same(before, web.dump())


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_planning_ends_it(
    web: Namespace, vmnet: Vmnet, signal_number: signal.Signals
) -> None:
    """The signal must wait for a handler of PID 1. Planning waits for a NIC that does not come."""
    before = web.dump()
    awaited = {"VMNET_INTERFACES": "eth7", "VMNET_INTERFACES_TIMEOUT": str(2 * WAIT)}
    environ = {**vmnet.environ, **awaited}
    with web.popen(*VMNET, "run", env=environ, pid=True) as process:

        def handles() -> int:
            status = Path(f"/proc/{process.pid}/status").read_text()
            handled = int(status.split("SigCgt:")[1].split()[0], 16)
            return handled >> (signal.SIGTERM - 1) & 1

        until(handles, WAIT, "a handler", interval=0.005, detail=process.output)
        process.signal(signal_number)
        assert process.wait(WAIT) == 128 + signal_number
        assert f"interrupted by {signal_number.name}" in process.output()
        assert "Traceback" not in process.output()
    require_same(before, web.dump())


def test_no_interface_is_an_error(vmnet: Vmnet, network: Lan) -> None:
    web = network.container("web")
    web.ip("link", "delete", "eth0")
    ended = _run(vmnet, web)
    assert ended.returncode == CaptureError.exit_code
    assert "no network interface to hand over" in ended.stderr


def test_a_user_mode_network_is_reported_with_its_remedy(vmnet: Vmnet, network: Lan) -> None:
    """Rootless Podman does this: slirp4netns or pasta is behind a tap."""
    web = network.container("web")
    web.ip("link", "delete", "eth0")
    web.ip("tuntap", "add", "tap0", "mode", "tap")
    web.ip("address", "add", "10.0.2.100/24", "dev", "tap0")
    web.ip("link", "set", "tap0", "up")
    before = web.dump()
    ended = _run(vmnet, web)
    assert ended.returncode == CaptureError.exit_code
    assert "tap0 leads to a user-mode network" in ended.stderr
    assert "podman network create" in ended.stderr
    assert "--cap-add NET_ADMIN,NET_RAW --device /dev/net/tun" in ended.stderr
    require_same(before, web.dump())


def test_an_interface_without_an_address_needs_another_system(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web")
    web.ip("address", "flush", "dev", "eth0")
    before = web.dump()
    ended = _run(vmnet, web)
    assert ended.returncode == DeliveryError.exit_code
    assert "NO_DHCP=true" in ended.stderr
    require_same(before, web.dump())
    with vmnet.running(web, NO_DHCP="true"):
        assert web.link("br0")


def test_nodhcp_starts_no_dnsmasq(web: Namespace, vmnet: Vmnet) -> None:
    with vmnet.running(web, NO_DHCP="TRUE"):
        assert web.pids_of("dnsmasq") == []


def test_a_second_start_in_the_same_namespace_has_the_same_result(
    web: Namespace, vmnet: Vmnet
) -> None:
    """A pod's namespace outlives its containers."""
    before = web.dump()
    with vmnet.running(web):
        first = web.dump()
        identity = json.loads((vmnet.run_dir / "state.json").read_text())["identity"]
    with vmnet.running(web) as process:
        assert "restoring the network" in process.output()
        assert _without_tap(web.dump()) == _without_tap(first)
        assert json.loads((vmnet.run_dir / "state.json").read_text())["identity"] == identity
    ended = _run(vmnet, web, VMNET_QEMU="/nonexistent")
    assert ended.returncode == LaunchError.exit_code
    require_same(before, web.dump())


def test_plan_changes_nothing_and_shows_what_run_does(web: Namespace, vmnet: Vmnet) -> None:
    before = web.dump()
    plan = vmnet(web, "plan", "--json")
    assert plan.returncode == 0, plan.stderr
    require_same(before, web.dump())
    planned = plan.json()
    with vmnet.running(web) as process:
        argv = Path(f"/proc/{process.pid}/environ")
        assert argv.exists()
        state = json.loads((vmnet.run_dir / "state.json").read_text())
        running = vmnet(web, "plan", "--json").json()
    assert state["identity"] == planned["identity"]
    assert state["wiring"] == planned["wiring"]
    assert running == planned
    written = (vmnet.run_dir / "dnsmasq.conf").read_text()
    assert "dhcp-host=02:42:ac:1e:01:02" in written


def test_check_reports_readiness(web: Namespace, vmnet: Vmnet) -> None:
    before = web.dump()
    ready = vmnet(web, "check")
    assert (ready.returncode, "ready to run" in ready.stdout) == (0, True), ready.stdout
    bad = vmnet(web, "check", "--json", VMNET_DISK="/missing.qcow2")
    assert bad.returncode == 1
    (missing,) = (finding for finding in bad.json() if finding["result"] == "missing")
    assert "VMNET_DISK=/missing.qcow2" in missing["detail"]
    require_same(before, web.dump())


def test_a_second_vm_in_the_namespace_is_refused(
    web: Namespace, vmnet: Vmnet, tmp_path: Path
) -> None:
    """`docker run --network container:web` does this, with separate files."""
    with vmnet.running(web):
        before = web.dump()
        ended = _run(vmnet, web, VMNET_RUN_DIR=str(tmp_path / "separate"))
        require_same(before, web.dump())
    assert ended.returncode == BridgeError.exit_code, ended.stderr
    assert "eth0 is already a port of the bridge br0" in ended.stderr


def test_a_device_that_the_container_bridges_is_not_handed_over(
    web: Namespace, vmnet: Vmnet, tmp_path: Path
) -> None:
    """The container runs an engine, which has a bridge and NICs of its own."""
    for command in (
        *("link add own0 type bridge", "link add veth0 type veth peer name veth1"),
        *("link set veth0 master own0", "link set veth0 up"),
    ):
        web.run("ip", *command.split())
    with vmnet.running(web):
        veth0, eth0 = web.link("veth0"), web.link("eth0")
        assert veth0
        assert eth0
        assert (veth0["master"], eth0["master"]) == ("own0", "br0")
    ended = _run(vmnet, web, VMNET_INTERFACES="veth0", VMNET_RUN_DIR=str(tmp_path / "separate"))
    assert ended.returncode == BridgeError.exit_code
    assert "veth0 is already a port of the bridge own0" in ended.stderr


def test_two_networks_are_restored_together(network: Lan, vmnet: Vmnet) -> None:
    with lan(2, host=network.host) as second:
        web = network.container("web", gateway=False)
        second.attach(web, "eth1", routes=("10.9.0.0/16 via 172.30.1.1",))
        before = web.dump()
        with vmnet.running(web):
            assert web.dump() != before
        _run(vmnet, web, VMNET_QEMU="/nonexistent")
        require_same(before, web.dump())


def _run(vmnet: Vmnet, container: Namespace, **settings: str) -> Completed:
    return vmnet(container, "run", **settings)


def _without_tap(dump: Json) -> Json:
    """Ignore the MAC of the tap, a bridge port: the kernel gives each new tap a random MAC."""
    dump["links"]["tap0"].pop("mac")
    return dump
