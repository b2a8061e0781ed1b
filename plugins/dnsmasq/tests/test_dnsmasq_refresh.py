"""The refresh after /etc/hosts or /etc/resolv.conf has changed; tests/netns runs it for real."""

from __future__ import annotations

import logging
import subprocess
from ipaddress import ip_address
from pathlib import Path

import pytest
from attrs import evolve
from vmnet_dnsmasq import refresh, service
from vmnet_dnsmasq.config import Paths
from vmnet_dnsmasq.rows import ROWS

from vmnet import testing
from vmnet.api import Host, Identity, engine_files
from vmnet.testing import resolver

NAMES = engine_files.Names((Host(ip_address("172.17.0.9"), ("db",)),), (ip_address("127.0.0.11"),))
IDENTITY = testing.identity(resolver=resolver("127.0.0.11"), hosts=NAMES.hosts)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """The files that a start has written."""
    written = Paths.below(tmp_path)
    written.hosts.write_text("172.17.0.9\tdb db.links.internal\n")
    written.servers.write_text("server=127.0.0.11\n")
    return written


def test_unchanged_files_are_not_written(paths: Paths, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    paths.hosts.chmod(0o400)
    refresh.refresh(paths, NAMES, (engine_files.HOSTS, engine_files.RESOLV_CONF), served=True)
    assert (caplog.messages, paths.hosts.stat().st_mode & 0o777) == ([], 0o400)


def test_invalid_names_in_a_hosts_file_are_omitted(
    paths: Paths, caplog: pytest.LogCaptureFixture
) -> None:
    """A container may write its own /etc/hosts."""
    caplog.set_level(logging.INFO)
    names = ("ok", "\x1b[2J", "a,b", "x" * 300, *(f"n{number}" for number in range(9)))
    hosts = (Host(ip_address("172.17.0.8"), names), Host(ip_address("172.17.0.7"), ("bad name",)))
    refresh.refresh(paths, evolve(NAMES, hosts=hosts), (engine_files.HOSTS,), served=True)
    valid = ("ok", *names[4:])
    served = " ".join((*valid, *(f"{name}.links.internal" for name in valid)))
    assert paths.hosts.read_text() == f"172.17.0.8\t{served}\n"
    assert paths.hosts.stat().st_mode & 0o777 == 0o644
    assert caplog.messages == [
        "dnsmasq: /etc/hosts has changed: ok is 172.17.0.8; n0 is 172.17.0.8; n1 is 172.17.0.8; "
        "and 8 more"
    ]


def test_a_removed_name_and_a_nameserver_that_dnsmasq_cannot_reach(
    paths: Paths, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    servers = (ip_address("192.0.2.1"), ip_address("2001:db8::53"))
    refresh.refresh(
        paths,
        engine_files.Names((), servers),
        (engine_files.HOSTS, engine_files.RESOLV_CONF),
        served=True,
    )
    assert (paths.hosts.read_text(), paths.servers.read_text()) == ("", "server=192.0.2.1\n")
    assert caplog.messages == [
        "dnsmasq: /etc/hosts has changed: db is gone",
        "dnsmasq: /etc/resolv.conf has changed: nameservers 192.0.2.1 "
        "(not 2001:db8::53: the forwarder speaks only IPv4)",
    ]


def test_a_guest_with_the_links_in_its_own_hosts_file(
    paths: Paths, caplog: pytest.LogCaptureFixture
) -> None:
    """The guest reads that file, from cloud-init's seed, before it asks dnsmasq."""
    caplog.set_level(logging.INFO)
    names = engine_files.Names(
        (Host(ip_address("172.17.0.8"), ("db",)),), (ip_address("192.0.2.1"),)
    )
    refresh.refresh(
        paths, names, (engine_files.HOSTS, engine_files.RESOLV_CONF), served=True, seeded=True
    )
    assert paths.hosts.read_text() == "172.17.0.8\tdb db.links.internal\n"
    logged = [
        (record.levelname, record.getMessage(), vars(record).get("hint"))
        for record in caplog.records
    ]
    assert logged == [
        (
            "WARNING",
            "/etc/hosts has changed: db is 172.17.0.8, "
            "but the guest's own hosts file does not change",
            "restart the container to pass the change to the guest",
        ),
        ("INFO", "dnsmasq: /etc/resolv.conf has changed: nameservers 192.0.2.1", None),
    ]


@pytest.mark.parametrize(
    ("ipam", "nameserver", "mode"),
    [
        ("dnsmasq", "172.17.255.254/16", "served"),
        ("cloudinit", "172.17.255.254/16", "seeded"),
        ("dnsmasq,cloudinit", "172.17.255.254/16", "seeded"),
        ("dnsmasq,cloudinit", "", "leased"),
    ],
)
def test_the_mode_depends_on_how_the_guest_gets_names(
    ipam: str, nameserver: str, mode: str
) -> None:
    wiring = testing.wiring(IDENTITY, contain="dnsmasq" in ipam, nameserver=nameserver)
    settings = testing.settings({"VMNET_IPAM": ipam}, *ROWS)
    dnsmasq, *_ = service.deliver(settings, IDENTITY, wiring).daemons
    assert mode in dnsmasq.refresh


def test_another_process_with_the_pid_gets_no_signal(paths: Paths) -> None:
    with subprocess.Popen(("sleep", "60")) as child:
        paths.pidfile.write_text(f"{child.pid}\n")
        refresh.refresh(paths, evolve(NAMES, hosts=()), (engine_files.HOSTS,), served=True)
        assert child.poll() is None
        child.kill()


def test_only_files_that_the_names_come_from_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names may also come from a strategy or from VMNET_DNS."""
    monkeypatch.setattr(engine_files, "read", lambda: NAMES)
    elsewhere = evolve(IDENTITY, resolver=resolver("192.0.2.9"))
    assert _follows(IDENTITY) == (engine_files.HOSTS, engine_files.RESOLV_CONF)
    assert _follows(IDENTITY, VMNET_DNS="127.0.0.11") == (engine_files.HOSTS,)
    assert _follows(elsewhere) == (engine_files.HOSTS,)
    assert _follows(evolve(elsewhere, hosts=())) == ()


def _follows(identity: Identity, **environ: str) -> tuple[Path, ...]:
    wiring = testing.wiring(identity, nameserver="172.17.255.254/16")
    dnsmasq, _ = service.deliver(testing.settings(environ, *ROWS), identity, wiring).daemons
    assert dnsmasq.refresh[-len(dnsmasq.follows) - 1] == "served"
    return dnsmasq.follows
