"""`vmnet check` is a promise: it refuses a container in the words of the start."""

from __future__ import annotations

import json
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.docs import plugin
from tests.lab.clients.dhcp4 import udhcpc
from tests.lab.net.bridge_guest import guest
from tests.lab.net.lan import Lan
from tests.lab.net.namespace import Namespace
from tests.lab.net.snapshot import require_same
from tests.lab.wait import WAIT, until
from tests.netns.conftest import VMNET, Vmnet, is_vm
from vmnet import process
from vmnet.errors import LaunchError, MachineError, PrivilegeError, StateError
from vmnet.planning import capabilities
from vmnet.planning.storage import state_folder
from vmnet.planning.storage.state_folder import StateFolder


@pytest.mark.parametrize("more", ["", ",+setuid,+setgid"])
def test_without_privileges_for_another_user_dnsmasq_stays_root(
    network: Lan, vmnet: Vmnet, more: str
) -> None:
    """The engine drops all capabilities but those that the network needs."""
    web = network.container("web")
    granted = f"-all,+net_admin,+net_raw,+net_bind_service,+mknod{more}"
    only = ("setpriv", "--bounding-set", granted, "--inh-caps", "-all")
    with web.popen(*only, *VMNET, "run", env=vmnet.environ, pid=True) as process:
        until(lambda: is_vm(process), WAIT, "vmnet to become the VM", detail=process.output)
        assert _owner(web, "dnsmasq") == "root"
        with guest(web, "br0", web.mac) as vm:
            assert str(udhcpc(vm).address.ip) == f"{web.address}"


@pytest.mark.parametrize("more", ["", ",+setuid,+setgid", ",+setuid,+setgid,+kill"])
def test_a_failed_start_ends_dnsmasq_with_few_capabilities(
    network: Lan, vmnet: Vmnet, tmp_path: Path, more: str
) -> None:
    """The hypervisor can't be executed, which is the last step of a start."""
    broken = tmp_path / "broken"
    broken.write_bytes(b"no program")
    broken.chmod(0o755)
    web = network.container("web")
    before = web.dump()
    granted = f"-all,+net_admin,+net_raw,+net_bind_service,+setpcap,+mknod{more}"
    only = ("setpriv", "--bounding-set", granted, "--inh-caps", "-all")
    environ = {**vmnet.environ, "VMNET_QEMU": str(broken)}
    ended = web.run(*only, *VMNET, "run", env=environ, check=False)
    assert ended.returncode == LaunchError.exit_code, ended.stderr
    assert "Exec format error" in ended.stderr
    until(lambda: not web.pids_of("dnsmasq"), WAIT, "dnsmasq to end")
    require_same(before, web.dump())


def test_dnsmasq_runs_as_its_own_user(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web")
    with vmnet.running(web):
        assert _owner(web, "dnsmasq") == "dnsmasq"


def test_a_setting_for_another_strategy_is_named(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web")
    environ = {**vmnet.environ, "VMNET_USER_DATA": "/nonexistent"}
    line = "VMNET_USER_DATA is set for cloudinit, which is not selected"
    for command in ("plan", "check"):
        assert line in web.run(*VMNET, command, env=environ, check=False, pid=True).stdout
    with web.popen(*VMNET, "run", env=environ, pid=True) as process:
        until(lambda: is_vm(process), WAIT, "vmnet to become the VM", detail=process.output)
        assert f"warning: {line}" in process.output()


def _owner(container: Namespace, name: str) -> str:
    """Return the user that a process of the container runs as."""
    return Path(f"/proc/{container.pid_of(name)}").owner()


@pytest.mark.parametrize(
    ("granted", "missing"),
    [
        ("+net_raw,+net_bind_service", "NET_ADMIN"),
        ("+net_admin,+net_bind_service", "NET_RAW"),
        ("+net_admin,+net_raw", "NET_BIND_SERVICE"),
    ],
)
def test_missing_capabilities(network: Lan, vmnet: Vmnet, granted: str, missing: str) -> None:
    """`docker run --cap-drop ALL --cap-add …` does this."""
    web = network.container("web", ipv6=True)
    before = web.dump()
    only = ("setpriv", "--bounding-set", f"-all,{granted}", "--inh-caps", "-all")
    ended = web.run(*only, *VMNET, "run", env=vmnet.environ, check=False, pid=True)
    assert ended.returncode == PrivilegeError.exit_code, ended.stderr
    assert f"the container lacks the capability {missing}, which " in ended.stderr
    require_same(before, web.dump())
    checked = web.run(*only, *VMNET, "check", "--json", env=vmnet.environ, check=False, pid=True)
    assert checked.returncode == 1
    (error,) = (line for line in ended.stderr.splitlines() if "error: " in line)
    details = [f["detail"] for f in json.loads(checked.stdout) if f["result"] == "missing"]
    assert error.partition("error: ")[2] in details


@pytest.fixture
def shared() -> Iterator[str]:
    """A folder to share, with a short path: the guest's name for it has at most 36 bytes."""
    with tempfile.TemporaryDirectory(prefix="vmnet-") as folder:
        yield folder


@pytest.mark.parametrize("name", capabilities.needed_by(capabilities.SHARE))
def test_a_missing_capability_of_shared_folders(
    network: Lan, vmnet: Vmnet, shared: str, name: str
) -> None:
    """With all but this, as `docker run --cap-drop` starts it; check and run say the same."""
    web = network.container("web")
    environ = {**vmnet.environ, "VMNET_SHARE": shared}
    only = ("setpriv", f"--bounding-set=-{name.lower()}", f"--inh-caps=-{name.lower()}")
    ended = web.run(*only, *VMNET, "run", env=environ, check=False, pid=True)
    checked = web.run(*only, *VMNET, "check", env=environ, check=False, pid=True)
    message = f"the container lacks the capability {name}, which virtiofsd of "
    assert ended.returncode == PrivilegeError.exit_code, ended.stderr
    assert checked.returncode == 1
    assert message in ended.stderr
    assert message in checked.stdout


def test_a_tpm_and_a_folder_with_the_capabilities_of_the_table(
    network: Lan, vmnet: Vmnet, shared: str
) -> None:
    """No more than the table lists is needed."""
    web = network.container("web")
    environ = {**vmnet.environ, "VMNET_TPM": "on", "VMNET_SHARE": shared}
    names = {name for part in ("vm", "share", "tpm") for name in capabilities.needed_by(part)}
    granted = ",".join(("-all", *(f"+{name.lower()}" for name in sorted(names))))
    only = ("setpriv", f"--bounding-set={granted}", "--inh-caps=-all")
    with web.popen(*only, *VMNET, "run", env=environ, pid=True) as process:
        until(lambda: is_vm(process), WAIT, "vmnet to become the VM", detail=process.output)
        assert _owner(web, "swtpm") != "root"
        assert web.pid_of("virtiofsd")


def test_the_disk_of_a_plugin_need_not_exist_before_its_delivery(
    network: Lan, vmnet: Vmnet, tmp_path: Path
) -> None:
    """The plugin of docs/writing-a-plugin.md. Check and run look at the same disks."""
    plugin.install(plugin.follow(tmp_path), tmp_path / "site")
    own = tmp_path / "own"
    own.write_bytes(bytes(512))
    settings = {"PYTHONPATH": f"{tmp_path / 'site'}", "VMNET_IPAM": "jsondisk"}
    web = network.container("web")
    checked = vmnet(web, "check", "--json", VMNET_DISK=f"{own}", **settings)
    details = {f["what"]: f["detail"] for f in json.loads(checked.stdout)}
    assert details["disk"] == f"no other VM uses {own}"
    with vmnet.running(web, **settings):
        assert b'"web"' in (vmnet.run_dir / "jsondisk.img").read_bytes()


def test_check_refuses_what_a_restarted_start_refuses(
    network: Lan, vmnet: Vmnet, tmp_path: Path
) -> None:
    """As in a pod whose container restarts: the namespace has the state of the killed VM."""
    web = network.container("web")
    with vmnet.running(web) as process:
        process.signal(signal.SIGKILL)
        process.wait()
    assert (vmnet.run_dir / "state.json").exists()
    assert vmnet(web, "check").returncode == 0
    only = ("setpriv", "--bounding-set", "-all,+net_admin,+net_raw", "--inh-caps", "-all")
    ended = web.run(*only, *VMNET, "check", env=vmnet.environ, check=False, pid=True)
    assert ended.returncode == 1
    assert "the container lacks the capability NET_BIND_SERVICE" in ended.stdout
    assert "the network itself is not checked" in ended.stdout
    assert "can create taps and bridges" in ended.stdout


@pytest.mark.parametrize("command", ["run", "check"])
def test_the_state_folder_of_another_vm(
    network: Lan, vmnet: Vmnet, tmp_path: Path, command: str
) -> None:
    """Only the hypervisor has the lock, so it ends with the VM."""
    image, state = tmp_path / "image", StateFolder(tmp_path / "state", is_used=True)
    image.write_bytes(bytes(1 << 20))
    settings = {"VMNET_DISK": str(image), "VMNET_DISK_MODE": "overlay"}
    web = network.container("web")
    before = web.dump()
    with vmnet.running(network.container("db"), **settings) as process:
        other = tmp_path / "other"
        ended = vmnet(web, command, VMNET_RUN_DIR=str(other), **settings)
        assert ended.returncode == (1 if command == "check" else MachineError.exit_code)
        used = f"VMNET_DISK_STATE={state.path} is in use by another VM: "
        assert used in ended.stdout + ended.stderr
        process.signal(signal.SIGTERM)
        process.wait()
    state_folder.require_free(state)
    require_same(before, web.dump())


def test_of_two_first_starts_at_once_one_is_refused(
    network: Lan, vmnet: Vmnet, tmp_path: Path
) -> None:
    """Neither can replace what the other has made, whichever comes first."""
    image = tmp_path / "image"
    image.write_bytes(bytes(1 << 20))
    settings = {"VMNET_DISK": str(image), "VMNET_DISK_MODE": "overlay"}
    with ExitStack() as stack:
        starts = []
        for name in ("one", "two"):
            environ = {**vmnet.environ, **settings, "VMNET_RUN_DIR": str(tmp_path / name)}
            container = network.container(name)
            started = container.popen(*VMNET, "run", env=environ, pid=True)
            starts.append(stack.enter_context(started))

        def are_decided() -> bool:
            ended = [start for start in starts if start.poll() is not None]
            return len(ended) == 1 and all(is_vm(start) for start in starts if start not in ended)

        until(are_decided, WAIT, "the VM and the refusal")
        statuses = sorted((start.poll() for start in starts), key=str)
        output = "".join(start.output() for start in starts)
        assert statuses == [MachineError.exit_code, None], output
        assert "is in use by another VM" in output
        names = sorted(path.name for path in (tmp_path / "state").iterdir())
        assert names == ["lock", "overlay.json", "overlay.qcow2"]


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_limit_of_open_files_is_the_only_error(network: Lan, vmnet: Vmnet, command: str) -> None:
    """The check of taps would fail as well, with a misleading error."""
    web = network.container("web")
    limited = ("prlimit", "--nofile=64", *VMNET, command)
    ended = web.run(*limited, env=vmnet.environ, check=False, pid=True)
    assert ended.returncode == (1 if command == "check" else LaunchError.exit_code)
    output = ended.stdout + ended.stderr
    assert "this container may open only 64 files, but QEMU needs 512" in output
    assert "Bad file descriptor" not in output


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_run_directory_without_room(network: Lan, vmnet: Vmnet, command: str) -> None:
    web = network.container("web")
    vmnet.run_dir.mkdir()
    mounted = (
        'mount -t tmpfs -o size=16k,mode=755 tmpfs "$0" && "$@"; code=$?; ls -A "$0"; exit $code'
    )
    words = ("sh", "-c", mounted, vmnet.run_dir, *VMNET, command)
    ended = web.run(*words, env=vmnet.environ, check=False, pid=True)
    assert ended.returncode == (1 if command == "check" else StateError.exit_code), ended.stderr
    output = ended.stdout + ended.stderr
    assert f"can't write {vmnet.run_dir}/" in output
    assert "No space left on device" in output
    left = [line for line in ended.stdout.splitlines() if line.startswith(".")]
    assert not left, "a temporary file stays in the way of the next start"


def test_check_says_what_an_error_of_the_planning_is_about(network: Lan, vmnet: Vmnet) -> None:
    settings = {"VMNET_IPAM": "cloudinit", "VMNET_PASSWORD": "secret"}
    checked = vmnet(network.container("web"), "check", "--json", **settings)
    (missing,) = (f for f in json.loads(checked.stdout) if f["result"] == "missing")
    assert (missing["what"], missing["detail"]) == (
        "settings",
        "VMNET_PASSWORD is not the hash of a password",
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"VMNET_MACHINE": "q53"}, "VMNET_MACHINE=q53: QEMU has no machine type q53"),
        ({"VMNET_CPU": "Hasvell,-avx"}, "VMNET_CPU=Hasvell,-avx: QEMU has no CPU model Hasvell"),
        ({"VMNET_MACHINE": "pc", "VMNET_CPUS": "256"}, "machine type pc allows at most 255"),
        ({"VMNET_FIRMWARE": "/etc/passwd"}, "VMNET_FIRMWARE=/etc/passwd is no firmware for x86_64"),
    ],
)
def test_what_qemu_would_refuse_is_refused_before_any_change(
    network: Lan, vmnet: Vmnet, settings: dict[str, str], message: str
) -> None:
    """Plan, check and run say the same."""
    web = network.container("web")
    before = web.dump()
    settings = {"VMNET_QEMU": f"{process.find('qemu-system-x86_64')}", **settings}
    ended = vmnet(web, "run", **settings)
    assert ended.returncode == MachineError.exit_code, ended.stderr
    error = ended.stderr.splitlines()[-2].partition("error: ")[2]
    hint = ended.stderr.splitlines()[-1].partition("hint: ")[2]
    assert message in error
    planned = vmnet(web, "plan", **settings)
    assert planned.returncode == MachineError.exit_code
    assert error in planned.stderr
    checked = vmnet(web, "check", "--json", **settings)
    (finding,) = (f for f in json.loads(checked.stdout) if f["result"] == "missing")
    assert (finding["detail"], finding["remedy"]) == (error, hint)
    require_same(before, web.dump())
    assert not (vmnet.run_dir / "state.json").exists()
