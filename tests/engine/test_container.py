"""A VM is managed like a container, and takes the container's place on Docker's networks."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.engine.conftest import FETCH, NET_ADMIN, Vms
from tests.engine.test_ending import attached
from tests.lab.command import run
from tests.lab.engines.docker import Engine
from tests.lab.images.bootable import convert, make_disk
from tests.lab.wait import WAIT, until
from vmnet.errors import MachineError, PrivilegeError, SettingsError, VmnetError

pytestmark = pytest.mark.engine


def test_the_guest_has_the_container_s_identity(vms: Vms) -> None:
    vm = vms.start("--hostname", "web", "-p", "127.0.0.1::80")
    network = vm.inspect()["NetworkSettings"]
    vms.await_log(vm, f"vmnet-guest: eth0 {network['IPAddress']}/{network['IPPrefixLen']}")
    identity = vms.query(network["IPAddress"], "identity")
    (eth0,) = identity["interfaces"]
    assert eth0["mac"] == network["MacAddress"]
    assert eth0["ipv4"] == [f"{network['IPAddress']}/{network['IPPrefixLen']}"]
    assert f"default via {network['Gateway']} dev eth0" in identity["routes"]
    assert identity["hostname"] == "web"

    published = vms.query(f"127.0.0.1:{vm.port('80/tcp')}", "identity")
    assert published == identity

    page = vms.docker.run(
        vms.image,
        "-c",
        FETCH,
        f"http://{network['IPAddress']}/",
        options=["--entrypoint", "python3"],
    )
    assert network["IPAddress"] in page.stdout

    status = vm.exec("cat", "/proc/1/status").stdout
    qemu = dict(line.split(":\t", 1) for line in status.splitlines())
    assert qemu["Name"].startswith("qemu-system")
    assert (qemu["PPid"], qemu["Uid"].split()) == ("0", ["64055"] * 4)
    capability_sets = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
    assert {int(qemu[name], 16) for name in capability_sets} == {0}
    assert (qemu["NoNewPrivs"], qemu["Seccomp"]) == ("1", "2")
    sockets = vm.exec("sh", "-c", "stat -c '%a %u %F' /run/vmnet/*.sock").stdout.splitlines()
    assert len(sockets) >= 2
    assert set(sockets) == {"600 0 socket"}

    vm.stop()
    assert "vmnet-guest: power button, shutting down" in vm.logs()
    assert vm.wait() == 0


def test_names_on_a_user_defined_network(vms: Vms) -> None:
    with vms.docker.network("vmt-names", "--subnet", "10.213.77.0/24") as network:
        database = vms.docker.start(
            vms.image,
            *("-m", "http.server", "80"),
            options=["--network", network, "--name", "vmt-db", "--entrypoint", "python3"],
        )
        vm = vms.start("--network", network, "--name", "vmt-vm", "--network-alias", "site")
        vms.await_log(vm, f"vmnet-guest: eth0 {vm.address(network)}/24")
        found = vms.query(vm.address(network), "lookup?name=vmt-db")
        assert found["addresses"] == [database.address(network)]
        page = vms.docker.run(
            vms.image,
            *("-c", FETCH, "http://site/"),
            options=["--network", network, "--entrypoint", "python3"],
        )
        assert vm.address(network) in page.stdout
        vm.rm()
        database.rm()


def test_ipv6_on_a_dual_stack_network(vms: Vms) -> None:
    subnets = ("--subnet", "10.213.79.0/24", "--ipv6", "--subnet", "fd00:213:79::/64")
    with vms.docker.network("vmt-ipv6", *subnets) as network:
        vm = vms.start("--network", network)
        endpoint = vm.inspect()["NetworkSettings"]["Networks"][network]
        address6 = endpoint["GlobalIPv6Address"]
        vms.await_log(vm, f"vmnet-guest: eth0 {address6}/128")

        def received() -> tuple[list[str], list[str], list[str]]:
            identity = vms.query(f"[{address6}]", "identity")
            (eth0,) = identity["interfaces"]
            defaults = [route for route in identity["routes6"] if route.startswith("default ")]
            return eth0["ipv4"], eth0["ipv6"], [route.split("::")[0] for route in defaults]

        # DHCP, DHCPv6 and router advertisements arrive in any order.
        given = ([f"{endpoint['IPAddress']}/24"], [f"{address6}/128"], ["default via fe80"])
        until(lambda: received() == given, WAIT, str(given), detail=lambda: str(received()))
        page = vms.docker.run(
            vms.image,
            *("-c", FETCH, f"http://[{address6}]/"),
            options=["--network", network, "--entrypoint", "python3"],
        )
        assert address6 in page.stdout
        vm.rm()


def test_with_no_dhcp_another_server_gives_the_guest_its_address(vms: Vms) -> None:
    with vms.docker.network("vmt-outside", "--subnet", "10.213.78.0/24") as network:
        server = vms.docker.start(
            vms.image,
            *("--no-daemon", "--port=0", "--log-facility=-", "--dhcp-authoritative"),
            "--dhcp-range=10.213.78.200,10.213.78.200,1h",
            options=["--network", network, *NET_ADMIN, "--entrypoint", "dnsmasq"],
        )
        vm = vms.start("--network", network, "-e", "NO_DHCP=true")
        vms.await_log(vm, "vmnet-guest: eth0 10.213.78.200/24")
        mac = vm.inspect()["NetworkSettings"]["Networks"][network]["MacAddress"]
        vms.await_log(server, mac)
        names = vm.exec("sh", "-c", "cat /proc/[0-9]*/comm").stdout
        assert "dnsmasq" not in names
        vm.rm()
        server.rm()


@pytest.fixture(scope="module")
def bootable(docker: Engine, image: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A raw disk with a boot loader and the image's demonstration Linux."""
    folder = tmp_path_factory.mktemp("disks")
    container = docker.start(image, options=["--entrypoint", "true"])
    for name in ("vmlinuz", "initrd"):
        docker.docker("cp", f"{container.id}:/usr/share/vmnet/demo/{name}", folder / name)
    container.rm()
    return make_disk(folder / "disk.img", folder)


@pytest.mark.parametrize(
    ("disk_format", "option"),
    [("raw", "offset=0"), ("qcow2", "format=qcow2"), ("vmdk", "format=vmdk")],
)
def test_the_user_s_disk_boots(
    vms: Vms, bootable: Path, tmp_path: Path, disk_format: str, option: str
) -> None:
    """vmnet detects the format from the content, whatever the file's name."""
    disk = bootable if disk_format == "raw" else convert(bootable, tmp_path / "disk", disk_format)
    vm = vms.start("-v", f"{disk}:/disk.qcow2", "-e", "VMNET_DISK=/disk.qcow2")
    vms.await_log(vm, f"vmnet-guest: eth0 {vm.address()}/")
    assert f",{option}," in vm.exec("cat", "/proc/1/cmdline").stdout


@pytest.mark.parametrize("mode", ["persistent", "ephemeral"])
def test_the_disk_mode_decides_whether_writes_are_kept(vms: Vms, tmp_path: Path, mode: str) -> None:
    disk = tmp_path / "data.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", disk, "8M")
    before = hashlib.sha256(disk.read_bytes()).digest()
    demo = "/usr/share/vmnet/demo"
    options = (
        *("-v", f"{disk}:/data.qcow2", "-e", "VMNET_DISK=/data.qcow2"),
        *("-e", f"VMNET_DISK_MODE={mode}"),
        *("-e", f"VMNET_KERNEL={demo}/vmlinuz", "-e", f"VMNET_INITRD={demo}/initrd"),
        *("-e", "VMNET_APPEND=console=ttyS0 quiet panic=-1 no_timer_check"),
    )
    vm = vms.start("-it", *options)
    with attached(vms, vm) as console:
        console.send_line("echo written by the guest > /dev/vda; sync; poweroff")
        assert vm.wait() == 0, vm.logs()
    after = hashlib.sha256(disk.read_bytes()).digest()
    if mode == "ephemeral":
        assert after == before
    else:
        raw = tmp_path / "data.raw"
        run("qemu-img", "convert", "-O", "raw", disk, raw)
        assert raw.read_bytes().startswith(b"written by the guest\n")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ((), PrivilegeError, "--cap-add NET_ADMIN"),
        ((*NET_ADMIN, "-e", "VMNET_DISK=/none.qcow2"), MachineError, "VMNET_DISK=/none.qcow2"),
        ((*NET_ADMIN, "-e", "VMNET_MEMORY=lots"), SettingsError, "VMNET_MEMORY=lots"),
        ((*NET_ADMIN, "-e", "VMNET_MEMORY=900T"), MachineError, "VMNET_MEMORY is 943718400 MiB"),
        ((*NET_ADMIN, "-e", "VMNET_IPAM=dnsmaks"), SettingsError, "did you mean 'dnsmasq'?"),
        ((*NET_ADMIN, "-e", "NO_DHCP=1", "-e", "VMNET_IPAM=dnsmasq"), SettingsError, "NO_DHCP=1"),
    ],
)
def test_wrong_input_ends_with_a_reason_and_a_documented_exit_code(
    vms: Vms, options: tuple[str, ...], error: type[VmnetError], message: str
) -> None:
    done = vms.docker.run(vms.image, options=options, check=False)
    assert done.returncode == error.exit_code, done.stderr
    assert message in done.stderr
    assert "hint:" in done.stderr


def test_starts_of_the_image_import_from_the_precompiled_file(vms: Vms) -> None:
    program = (
        "from vmnet.imports import precompiled; print(precompiled.use()); from vmnet import hooks; "
        "import pluggy, socket; print({type(module.__loader__).__module__ for module in "
        "(hooks, pluggy, socket)})"
    )
    options = ("--entrypoint", "/opt/vmnet/bin/python")
    output = vms.docker.run(vms.image, "-I", "-c", program, options=options).stdout
    assert output == "True\n{'vmnet.imports.precompiled'}\n"


def test_check_warns_of_a_container_too_small_for_its_guest(vms: Vms) -> None:
    limited = (*NET_ADMIN, "--memory", "600m", "-e", "VMNET_MEMORY=512M")
    output = vms.docker.run(vms.image, "check", options=limited).stdout
    (line,) = (line for line in output.splitlines() if line.split()[1:2] == ["memory"])
    assert line.startswith("warning")
    assert "the container's memory limit is 600 MiB" in line


def test_a_read_only_root_and_a_restart(vms: Vms) -> None:
    vm = vms.start("--read-only", "--tmpfs", "/run")
    vms.await_log(vm, f"vmnet-guest: eth0 {vm.address()}/")
    vm.restart()
    identity = vms.query(vm.address(), "identity")
    assert identity["interfaces"][0]["mac"] == vm.inspect()["NetworkSettings"]["MacAddress"]


def test_check_and_hooks_in_the_image(vms: Vms) -> None:
    ready = vms.docker.run(vms.image, "check", options=NET_ADMIN)
    assert "ready to run" in ready.stdout
    hooks = vms.docker.run(vms.image, "hooks")
    assert "dnsmasq (vmnet-entrypoint " in hooks.stdout
