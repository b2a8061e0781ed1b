"""The example vmnet-ipam-cni on a real engine: VM containers share a pool of host-local."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.engine.conftest import ROOT, Vms

pytestmark = [pytest.mark.engine, pytest.mark.long]

FOLDER = ROOT / "examples" / "vmnet-ipam-cni"
STORE = "/var/lib/cni/networks"


def test_containers_share_a_pool_in_a_volume(vms: Vms, tmp_path: Path) -> None:
    base = ("--build-arg", f"VMNET={vms.image}")
    image = vms.docker.build(FOLDER, "vmnet-tests/vmnet-ipam-cni", options=base)
    ranges = [[{"subnet": "10.213.79.0/24", "rangeStart": "10.213.79.129"}]]
    ipam = {"type": "host-local", "ranges": ranges, "routes": [{"dst": "0.0.0.0/0"}]}
    config = {"cniVersion": "1.0.0", "name": "pool", "plugins": [{"type": "bridge", "ipam": ipam}]}
    (tmp_path / "store").mkdir()
    (tmp_path / "vmnet.conflist").write_text(json.dumps(config))

    def allocated() -> set[str]:
        return {path.name for path in (tmp_path / "store" / "pool").glob("10.*")}

    # Docker allocates from the lower half of the subnet, host-local from the upper half.
    ranges_of_docker = ("--subnet", "10.213.79.0/24", "--ip-range", "10.213.79.0/25")
    with vms.docker.network("vmt-cni-net", *ranges_of_docker) as network:
        mounts = (
            *("-v", f"{tmp_path / 'store'}:{STORE}"),
            *("-v", f"{tmp_path / 'vmnet.conflist'}:/etc/cni/net.d/vmnet.conflist:ro"),
        )
        own = Vms(vms.docker, image)
        first, second = (own.start("--network", network, *mounts) for _ in range(2))
        for vm in (first, second):
            vms.await_log(vm, "vmnet-guest: eth0 10.213.79.1")
        assert allocated() == {"10.213.79.129", "10.213.79.130"}
        for address in allocated():
            assert vms.query(address, "identity")["interfaces"][0]["ipv4"] == [f"{address}/24"]
        first.kill()
        assert first.wait() == 137
        assert len(allocated()) == 2, "the next start releases a killed VM's address"
        vms.docker.docker("start", first.id)
        vms.await_log(first, "released by cni")
        for vm in (first, second):
            vm.stop()
        assert allocated() == set()
        for vm in (first, second):
            vm.rm()
