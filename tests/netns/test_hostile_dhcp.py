"""DHCP as a guest misuses it, by malice or by mistake."""

from __future__ import annotations

from ipaddress import IPv4Interface

import pytest

from tests.lab.dhcp_clients import udhcpc
from tests.lab.guest import guest
from tests.lab.netns import Lan
from tests.lab.wait import until
from tests.netns.conftest import Vmnet


# dnsmasq never leases the last of these from a range.
@pytest.mark.parametrize("address", ["172.30.1.2/24", "192.168.0.255/20"])
def test_a_declined_address_is_offered_again_at_once(
    network: Lan, vmnet: Vmnet, address: str
) -> None:
    """The client finds a rival when it takes the address, and none when it asks again."""
    web = network.container("web", address=address, gateway=False)
    own = IPv4Interface(address)
    with vmnet.running(web), guest(web, "br0", web.mac) as vm:
        with guest(web, "br0", "02:42:00:00:00:99", port="rival0") as rival:
            rival.ip("address", "add", address, "dev", "eth0")
            client = ("udhcpc", "-f", "-a", "-i", "eth0", "-s", "/bin/true")
            with vm.popen(*client) as process:
                said = process.output
                until(lambda: "declin" in said(), 15, "the client to decline", detail=said)
        log = (vmnet.run_dir / "dnsmasq.log").read_text()
        lease = udhcpc(vm)
    assert f"DHCPDECLINE(br0) {own.ip} {web.mac}" in log
    assert lease.address == own


def test_a_lease_that_another_machine_left_on_record_is_nobodys(network: Lan, vmnet: Vmnet) -> None:
    """A run directory outlives its container, whose next one has another MAC."""
    web = network.container("web")
    vmnet.run_dir.mkdir()
    left = f"0 02:42:00:00:00:99 {web.address} old *\n"
    (vmnet.run_dir / "dnsmasq.leases").write_text(left)
    with vmnet.running(web), guest(web, "br0", web.mac) as vm:
        lease = udhcpc(vm)
    assert str(lease.address.ip) == web.address
