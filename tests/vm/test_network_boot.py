"""A guest boots from a server on the container's network (PXE)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.lab.command import Process
from tests.lab.net.lan import Lan
from tests.lab.net.services import dnsmasq, file_server
from tests.lab.wait import until
from tests.vm.conftest import BOOT_SECONDS, DemoVm

pytestmark = pytest.mark.vm


@contextmanager
def boot_server(network: Lan, folder: Path, *commands: str) -> Iterator[Process]:
    """Serve a script of iPXE by TFTP, and the other files by HTTP; yield the web server."""
    (folder / "boot.ipxe").write_text("\n".join(("#!ipxe", *commands, "")))
    tftp = dnsmasq(network.host, "--enable-tftp", f"--tftp-root={folder}", port=0)
    with tftp, file_server(network.host, folder) as web:
        yield web


@pytest.mark.parametrize("firmware", ["bios", pytest.param("uefi", marks=pytest.mark.long)])
def test_a_guest_with_an_empty_disk_boots_from_the_network(
    network: Lan, machine: DemoVm, tmp_path: Path, firmware: str
) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(1 << 20))
    for name in ("vmlinuz", "initrd"):
        (tmp_path / name).symlink_to(Path(machine.environ["VMNET_DEMO"], name))
    base = f"http://{network.gateway}"
    commands = (
        # UEFI's boot programs tell Linux the name of its initrd.
        f"kernel {base}/vmlinuz initrd=initrd console=ttyS0 quiet panic=-1",
        f"initrd {base}/initrd",
        "boot",
    )
    settings = {
        "VMNET_DISK": str(disk),
        "VMNET_FIRMWARE": firmware,
        "VMNET_BOOT": "disk,network",
        "VMNET_BOOT_URL": f"tftp://{network.gateway}/boot.ipxe",
    }
    web = network.container("web")
    with boot_server(network, tmp_path, *commands), machine.booted(web, **settings) as guest:
        guest.says(f"vmnet-guest: eth0 {web.address}/24 via {network.gateway}")


@pytest.mark.parametrize(
    "model",
    ["e1000", *(pytest.param(name, marks=pytest.mark.long) for name in ("e1000e", "rtl8139"))],
)
def test_an_emulated_nic_carries_packets(
    network: Lan, machine: DemoVm, tmp_path: Path, model: str
) -> None:
    """The boot program has drivers for models that the guest's kernel does not know."""
    commands = (f"imgfetch http://{network.gateway}/boot.ipxe?${{mac:hexhyp}}", "sleep 600")
    chosen = {
        "VMNET_BOOT": "network",
        "VMNET_BOOT_URL": f"tftp://{network.gateway}/boot.ipxe",
        "VMNET_NIC_MODEL": model,
    }
    web = network.container("web")
    with (
        boot_server(network, tmp_path, *commands) as server,
        machine.booted(web, **chosen) as guest,
    ):
        mac = web.mac.replace(":", "-")
        until(
            lambda: f'"GET /boot.ipxe?{mac} ' in server.output(),
            BOOT_SECONDS,
            f"the request of {web.address}",
            detail=lambda: server.output() + guest.output(),
        )
