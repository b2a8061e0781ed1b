"""ADD, CHECK and DEL with the real host-local and static: every allocation is released."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import vmnet_ipam_cni as cni
from vmnet_ipam_cni import record

from tests.lab.ipam.cni import Lab, lab, result
from vmnet import testing
from vmnet.api import AllocationError, Identity, SettingsError

__all__ = ["lab"]

TWO = testing.identity(
    testing.interface("172.17.0.2/16", gateway="172.17.0.1"),
    testing.interface("172.18.0.2/16", name="eth1"),
)


def allocate(lab: Lab, identity: Identity | None = None, **settings: str) -> Identity:
    return cni.vmnet_ipam_allocate(lab.settings(**settings), identity or testing.identity())


def release(lab: Lab, **settings: str) -> None:
    cni.vmnet_ipam_release(lab.settings(**settings), testing.identity())


def on_record(lab: Lab) -> list[str]:
    current = record.load(lab.folder / "run" / "cni.json")
    return [attachment.interface for attachment in current.attachments] if current else []


def container(lab: Lab) -> str:
    current = record.load(lab.folder / "run" / "cni.json")
    assert current
    return current.container


def addresses(identity: Identity) -> list[str]:
    return [str(address) for nic in identity.interfaces for address in nic.addresses]


@pytest.mark.parametrize("version", ["0.4.0", "1.0.0"])
def test_host_local_allocates_and_releases(lab: Lab, version: str) -> None:
    lab.host_local()
    configuration = json.loads(lab.config.read_text())
    lab.config.write_text(json.dumps({**configuration, "cniVersion": version}))
    (nic,) = allocate(lab).interfaces
    assert nic.addresses[0].with_prefixlen == "10.5.0.2/24"
    assert nic.routes == (testing.route("0.0.0.0/0", "10.5.0.1"),)
    assert lab.held() == ["10.5.0.2"]
    assert (lab.store / "10.5.0.2").read_text().split() == [container(lab), "eth0"]
    assert re.fullmatch(r"web-[0-9a-f]{16}", container(lab))
    release(lab)
    assert lab.held() == on_record(lab) == []
    release(lab)  # a second release is no error


def test_ipv4_ipv6_and_a_resolver(lab: Lab) -> None:
    (lab.folder / "resolv.conf").write_text("nameserver 10.5.0.53\nsearch site.test\n")
    lab.host_local(
        ranges=[[{"subnet": "10.5.0.0/24"}], [{"subnet": "2001:db8::/64"}]],
        routes=[{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
        resolvConf=str(lab.folder / "resolv.conf"),
    )
    found = allocate(lab)
    assert addresses(found) == ["10.5.0.2/24", "2001:db8::2/64"]
    gateways = [str(route.gateway) for route in found.interfaces[0].routes]
    assert gateways == ["10.5.0.1", "2001:db8::1"]
    assert found.resolver == testing.resolver("10.5.0.53", search=("site.test",))
    assert lab.held() == ["10.5.0.2", "2001:db8::2"]
    release(lab)
    assert lab.held() == []


def test_static_with_arguments_and_capabilities(lab: Lab) -> None:
    ipam = {
        "type": "static",
        "addresses": [{"address": "10.5.0.9/24", "gateway": "10.5.0.1"}],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "10.9.0.0/16", "gw": "10.5.0.3"}],
        "dns": {"nameservers": ["10.5.0.53"], "domain": "site.test", "options": ["ndots:2"]},
    }
    lab.network(ipam)
    found = allocate(lab)
    assert addresses(found) == ["10.5.0.9/24"]
    assert [str(route.gateway) for route in found.interfaces[0].routes] == ["10.5.0.1", "10.5.0.3"]
    assert found.domain == "site.test"
    release(lab)
    more = allocate(lab, VMNET_CNI_ARGS="IgnoreUnknown=1;IP=10.5.0.10/24")
    assert addresses(more) == ["10.5.0.9/24", "10.5.0.10/24"]
    release(lab)
    plugins = [{"type": "bridge", "ipam": ipam, "capabilities": {"ips": True}}]
    lab.network({}, plugins=plugins)
    chosen = allocate(lab, VMNET_CNI_CAPABILITIES='{"ips": ["10.5.0.77/24"]}')
    assert addresses(chosen) == ["10.5.0.77/24"]


def test_interfaces_are_added_in_order_and_released_in_reverse(lab: Lab) -> None:
    answers = {"eth0": result("10.5.0.2/24"), "eth1": result("10.6.0.2/24")}
    lab.scripted(f"print(json.dumps({answers!r}[interface]))")
    assert addresses(allocate(lab, TWO)) == ["10.5.0.2/24", "10.6.0.2/24"]
    release(lab)
    calls = ["ADD eth0", "ADD eth1", "CHECK eth0", "CHECK eth1", "DEL eth1", "DEL eth0"]
    assert lab.commands() == calls
    assert {call["environ"]["CNI_CONTAINERID"] for call in lab.calls()} == {container(lab)}
    assert lab.calls()[-1]["stdin"]["prevResult"] == answers["eth0"]


def test_only_named_interfaces_get_an_allocation(lab: Lab) -> None:
    lab.host_local()
    found = allocate(lab, TWO, VMNET_CNI_INTERFACES="eth1")
    assert addresses(found) == ["172.17.0.2/16", "10.5.0.2/24"]
    release(lab)
    with pytest.raises(SettingsError, match="VMNET_CNI_INTERFACES=eth7: there is no eth7"):
        allocate(lab, TWO, VMNET_CNI_INTERFACES="eth7")


def test_a_partial_allocation_is_released(lab: Lab) -> None:
    """The pool has a single address for two interfaces."""
    lab.host_local("10.5.0.0/30")
    with pytest.raises(AllocationError) as caught:
        allocate(lab, TWO)
    assert "host-local refuses ADD for eth1: failed to allocate for range 0: no IP addresses" in (
        caught.value.message
    )
    assert lab.held() == ["10.5.0.2"]
    assert on_record(lab) == ["eth0", "eth1"]
    release(lab)
    assert lab.held() == on_record(lab) == []


def test_exhaustion_leaves_the_store_as_it_was(lab: Lab) -> None:
    lab.host_local("10.5.0.0/30")
    allocate(lab, run_dir="first")
    with pytest.raises(AllocationError, match="no IP addresses available in range set"):
        allocate(lab)
    release(lab)
    assert lab.held() == ["10.5.0.2"]
    release(lab, run_dir="first")
    assert addresses(allocate(lab)) == ["10.5.0.2/30"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (result(), "there is no address for eth0"),
        (result("10.5.0.2/24", cniVersion="0.4.0"), "cniVersion is '0.4.0', not 1.0.0"),
        (result("10.5.0.2/24", "10.5.0.2/24"), "10.5.0.2 would belong to eth0 and eth0"),
        ("{", "returned no valid result for ADD for eth0: {"),
    ],
)
def test_an_unusable_allocation_is_released(lab: Lab, answer: object, reason: str) -> None:
    lab.saying(answer)
    with pytest.raises(AllocationError, match=re.escape(reason)):
        allocate(lab)
    release(lab)
    assert lab.commands()[-1] == "DEL eth0"
    assert on_record(lab) == []


def test_a_failed_check_fails_the_allocation(lab: Lab) -> None:
    answer = json.dumps(result("10.5.0.2/24"))
    script = (
        f"if command == 'ADD': print({answer!r})\n"
        'if command == \'CHECK\': print(\'{"code": 9, "msg": "gone"}\'); sys.exit(1)'
    )
    lab.scripted(script)
    with pytest.raises(AllocationError, match=r"refuses CHECK for eth0: gone \(code 9\)"):
        allocate(lab)
    release(lab)
    lab.scripted(script, disableCheck=True)
    assert addresses(allocate(lab)) == ["10.5.0.2/24"]


def test_an_unsupported_version_is_found_before_add(lab: Lab) -> None:
    lab.scripted("")
    path = lab.folder / "bin" / "scripted"
    path.write_text(path.read_text().replace('["0.4.0", "1.0.0"]', '["0.3.1", "0.4.0"]'))
    with pytest.raises(AllocationError, match=re.escape("supports CNI 0.3.1, 0.4.0, not 1.0.0")):
        allocate(lab)
    assert not lab.calls()
    assert not on_record(lab)


def test_a_hanging_plugin(lab: Lab) -> None:
    lab.scripted("import time\nwhile command == 'ADD': time.sleep(60)")
    with pytest.raises(AllocationError, match="did not answer ADD for eth0 within 5 s"):
        allocate(lab, VMNET_CNI_TIMEOUT="5")  # enough for VERSION
    release(lab, VMNET_CNI_TIMEOUT="30")
    assert lab.commands() == ["ADD eth0", "DEL eth0"]


def test_a_failed_release_stays_on_record(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    answers = {"eth0": result("10.5.0.2/24"), "eth1": result("10.6.0.2/24")}
    lab.scripted(
        f"if command == 'ADD': print(json.dumps({answers!r}[interface]))\n"
        "if command == 'DEL' and interface == 'eth1': sys.exit('no disk')"
    )
    allocate(lab, TWO)
    with pytest.raises(AllocationError) as caught:
        release(lab)
    assert caught.value.message == f"not released by CNI: eth1 of {container(lab)}"
    assert "scripted ended with status 1 in DEL for eth1: no disk" in caplog.text
    assert on_record(lab) == ["eth1"]
    lab.scripted("")
    release(lab)
    assert on_record(lab) == []
    assert lab.commands()[-3:] == ["DEL eth1", "DEL eth0", "DEL eth1"]


def test_a_release_needs_only_the_record(lab: Lab) -> None:
    """After a crash, the configuration may be gone and the result of ADD unknown."""
    lab.host_local()
    allocate(lab)
    path = lab.folder / "run" / "cni.json"
    document = json.loads(path.read_text())
    document["attachments"][0]["result"] = None
    path.write_text(json.dumps(document))
    lab.config.unlink()
    release(lab)
    assert lab.held() == []


def test_a_release_without_an_allocation(lab: Lab) -> None:
    """vmnet also releases if it was killed before the plugin allocated."""
    release(lab)
    assert not (lab.folder / "run").exists()


@pytest.mark.parametrize("content", ["", "[]", '{"version": 2, "container": "x"}'])
def test_a_malformed_record_is_kept(lab: Lab, content: str) -> None:
    path = lab.folder / "run" / "cni.json"
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(AllocationError) as caught:
        release(lab)
    assert f"`rm {path}`" in caught.value.hint
    assert path.read_text() == content


@pytest.mark.parametrize(
    ("hostname", "same"), [("web", True), ("db", False)], ids=["restart", "copied folder"]
)
def test_a_container_keeps_its_id(lab: Lab, hostname: str, same: bool) -> None:
    lab.host_local()
    allocate(lab)
    before = container(lab)
    release(lab)
    allocate(lab, testing.identity(hostname=hostname))
    assert (container(lab) == before) is same


def test_a_container_gets_a_new_id_if_attachments_remain(lab: Lab) -> None:
    lab.host_local()
    allocate(lab)
    before = container(lab)
    assert addresses(allocate(lab)) == ["10.5.0.3/24"]
    assert container(lab) != before
    release(lab)
    assert lab.held() == ["10.5.0.2"]


@pytest.mark.parametrize("hostname", ["", "-", "ä.b c", "x" * 200])
def test_every_host_name_gives_a_valid_id(lab: Lab, hostname: str) -> None:
    lab.host_local()
    allocate(lab, testing.identity(hostname=hostname))
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", container(lab))
    assert lab.held() == ["10.5.0.2"]


def test_concurrent_containers_get_different_addresses(lab: Lab) -> None:
    """Each call is a separate process, and host-local locks its store."""
    lab.host_local()
    runs = [f"run{number}" for number in range(20)]
    with ThreadPoolExecutor(len(runs)) as pool:
        found = list(pool.map(lambda run: addresses(allocate(lab, run_dir=run)), runs))
        assert len({address for (address,) in found}) == len(runs)
        assert len(lab.held()) == len(runs)
        for done in pool.map(lambda run: release(lab, run_dir=run), runs):
            assert done is None
    assert lab.held() == []


@pytest.fixture
def planned(lab: Lab) -> Iterator[Lab]:
    lab.scripted("")
    yield lab
    assert not lab.log.exists(), "planning runs no plugin"


def test_planning_reports_errors_without_running_the_plugin(planned: Lab) -> None:
    identity = testing.identity()
    cni.vmnet_ipam_requirements(planned.settings(), identity)
    planned.network({"type": "absent"})
    with pytest.raises(AllocationError, match="there is no CNI plugin absent"):
        cni.vmnet_ipam_requirements(planned.settings(), identity)
    absent = str(Path(planned.folder, "absent.conf"))
    with pytest.raises(SettingsError, match=r"absent\.conf: No such file"):
        cni.vmnet_ipam_requirements(planned.settings(VMNET_CNI_CONFIG=absent), identity)
