"""VMNET_BRIDGE=passt with a real guest: QEMU exchanges frames with passt, without privileges."""

from __future__ import annotations

import pytest

from tests.lab.net.lan import Lan
from tests.lab.net.snapshot import require_same
from tests.lab.wait import WAIT, until
from tests.vm.conftest import VMNET, DemoVm, Guest, ask

pytestmark = pytest.mark.vm

UNPRIVILEGED = ("setpriv", "--bounding-set", "-net_admin,-net_raw,-mknod", "--inh-caps", "-all")


def test_a_guest_without_net_admin(network: Lan, machine: DemoVm) -> None:
    web, station = network.container("web", ipv6=True, mtu=1450), network.station(ipv6=True)
    web.sysctl(net__ipv4__ip_unprivileged_port_start=0)  # as Docker does
    before = web.dump()
    environ = {**machine.environ, "VMNET_BRIDGE": "auto,passt"}
    with web.popen(*UNPRIVILEGED, *VMNET, "run", env=environ, pid=True, apart=True) as process:
        guest = Guest(process)
        guest.says(f"vmnet-guest: eth0 {web.address}/24 via {network.gateway}")
        (eth0,) = ask(station, web.address, "identity")["interfaces"]
        assert (eth0["mac"], eth0["mtu"]) == (web.mac, 1450)
        assert eth0["ipv4"] == [f"{web.address}/24"]
        own6 = (web.nic().address6 or "").partition("/")[0]

        def has_ipv6() -> bool:
            (now,) = ask(station, web.address, "identity")["interfaces"]
            return any(address.startswith(f"{own6}/") for address in now["ipv6"])

        until(has_ipv6, WAIT, "the guest's IPv6 address", detail=guest.output)
        assert ask(station, f"[{own6}]", "identity")["nameservers"] == [network.gateway]
        status = ("nsenter", "-t", str(process.pid), "-p", "-m", *VMNET, "status")
        shown = web.run(*status, env=environ).stdout
        assert "eth0 by passt" in shown
        assert "not connected" not in shown
    require_same(before, web.dump())
