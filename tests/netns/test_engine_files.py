"""Changes of /etc/hosts and /etc/resolv.conf, which an engine makes while the VM runs."""

from __future__ import annotations

from tests.lab.net.lan import WORLD, Lan
from tests.lab.wait import WAIT, until
from tests.netns.conftest import Vmnet
from tests.netns.test_names import ON_LOOPBACK, configured, resolve, resolver


def test_a_link_that_gets_another_address(network: Lan, vmnet: Vmnet) -> None:
    """The engine keeps the name in /etc/hosts, and writes this file in place."""
    web = network.container("web", hosts="172.30.1.66 db\n", resolv_conf=ON_LOOPBACK)
    with vmnet.running(web) as process, configured(web) as (vm, lease):
        (server,) = lease.dns
        assert resolve(vm, "db", server) == {"172.30.1.66"}
        said = process.output
        (web.etc / "hosts").write_text("172.30.1.67 db\n172.30.1.68 cache\n172.30.1.2 web\n")
        until(lambda: "hosts has changed" in said(), WAIT, "the change", detail=said)
        until(lambda: resolve(vm, "db", server) == {"172.30.1.67"}, WAIT, "the new address")
        assert resolve(vm, "cache", server) == {"172.30.1.68"}
        line = "vmnet: dnsmasq: /etc/hosts has changed: db is 172.30.1.67; cache is 172.30.1.68"
        assert line in said().splitlines()


def test_a_link_in_the_guests_own_hosts_file(network: Lan, vmnet: Vmnet) -> None:
    """cloud-init wrote the file from the seed, so the guest doesn't ask dnsmasq for the name."""
    web = network.container("web", hosts="172.30.1.66 db\n", resolv_conf=ON_LOOPBACK)
    with vmnet.running(web, VMNET_IPAM="cloudinit") as process:
        (web.etc / "hosts").write_text("172.30.1.67 db\n")
        said = process.output
        until(lambda: "hosts has changed" in said(), WAIT, "the change", detail=said)
        line = "warning: /etc/hosts has changed: db is 172.30.1.67, but the guest's own hosts file"
        assert line in said()
        assert "restart the container to pass the change to the guest" in said()


def test_nameservers_that_change(network: Lan, vmnet: Vmnet) -> None:
    web = network.container("web", resolv_conf=ON_LOOPBACK)
    with (
        resolver(web, {"db": "172.30.1.77"}),
        resolver(web, {"db": "172.30.1.78"}, "127.0.0.12"),
        vmnet.running(web) as process,
        configured(web) as (vm, lease),
    ):
        assert resolve(vm, "db.internal.test", lease.dns[0]) == {"172.30.1.77"}
        (web.etc / "resolv.conf").write_text("nameserver 127.0.0.12\n")
        said = process.output
        until(lambda: "resolv.conf has changed" in said(), WAIT, "the change", detail=said)
        expected = {"172.30.1.78"}
        until(
            lambda: resolve(vm, "db.internal.test", lease.dns[0]) == expected,
            WAIT,
            "the new address",
        )
        assert "vmnet: dnsmasq: /etc/resolv.conf has changed: nameservers 127.0.0.12" in said()


def test_a_change_that_can_t_reach_the_guest_is_logged(network: Lan, vmnet: Vmnet) -> None:
    """The guest asks the nameserver directly, so it can't learn about a new link."""
    web = network.container("web", hosts="", resolv_conf=f"nameserver {WORLD}\n")
    with vmnet.running(web) as process:
        (web.etc / "hosts").write_text("172.30.1.67 db\n")
        said = process.output
        until(lambda: "hosts has changed" in said(), WAIT, "the change", detail=said)
        assert "warning: /etc/hosts has changed: db is 172.30.1.67, but the guest asks" in said()
