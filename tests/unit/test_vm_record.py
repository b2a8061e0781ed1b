"""The record of the running VM: it loads while the VM runs, and not afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from attrs import evolve

from tests.lab.wait import WAIT, until
from tests.unit import running
from vmnet import testing
from vmnet.errors import StateError
from vmnet.lifecycle import vm_record
from vmnet.lifecycle.vm_record import Helper, Process
from vmnet.model.machine import Command
from vmnet.model.wiring import Sender


def test_a_saved_record_is_loaded(tmp_path: Path) -> None:
    made = running.machine(tmp_path, helpers=(Helper("dnsmasq", tmp_path / "pid"),), console=None)
    assert vm_record.load(tmp_path) == made
    assert (tmp_path / "vm.json").stat().st_mode & 0o777 == 0o600


def test_no_record(tmp_path: Path) -> None:
    assert vm_record.load(tmp_path) is None
    running.machine(tmp_path)
    vm_record.discard(tmp_path)
    assert vm_record.load(tmp_path) is None
    vm_record.discard(tmp_path)


def test_a_later_process_with_the_same_pid_does_not_match(tmp_path: Path) -> None:
    """After `docker restart` the folder is the same, and PID 1 always exists."""
    own = Process.with_pid("qemu", os.getpid())
    assert own.runs
    running.machine(tmp_path, hypervisor=evolve(own, started=own.started - 1))
    assert vm_record.load(tmp_path) is None


def test_a_process_that_ended_or_never_existed_does_not_run() -> None:
    with subprocess.Popen(("sleep", "60")) as child:
        process = Process.with_pid("sleep", child.pid)
        assert process.runs
        assert 0 <= process.seconds < 60
        child.kill()
        # It is a zombie until this test waits for it.
        until(lambda: not process.runs, WAIT, "its end")
    assert not process.runs
    assert not Process.with_pid("sleep", child.pid).runs
    assert not Process.with_pid("no pidfile", 0).runs


def test_a_helper_is_found_by_its_pid_file(tmp_path: Path) -> None:
    """The keeper may have replaced it since the start."""
    helper = Helper("dnsmasq", tmp_path / "pid")
    assert helper.state() == (0, "has ended")
    with subprocess.Popen(("sleep", "60")) as child:
        helper.pidfile.write_text(f"{child.pid}\n")
        assert helper.state() == (child.pid, "")
        child.send_signal(signal.SIGSTOP)
        until(lambda: helper.state() == (child.pid, "is stopped"), WAIT, "it to be stopped")
        child.kill()
        until(lambda: helper.state() == (child.pid, "has ended"), WAIT, "the zombie")
    assert helper.state() == (child.pid, "has ended")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"version": 1}', '{"version": 4}', '{"version": 3, "qmp": 3}']
)
def test_a_malformed_record_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "vm.json").write_text(text)
    with pytest.raises(StateError, match=r"can't read .*vm\.json"):
        vm_record.load(tmp_path)


def test_the_record_of_a_plan(tmp_path: Path) -> None:
    identity = testing.identity()
    wiring = testing.wiring(identity)
    (port,) = wiring.ports
    wiring = evolve(wiring, ports=(evolve(port, sender=Sender((IPv4Address("172.17.0.2"),))),))
    command = Command(("/usr/bin/qemu",), qmp=tmp_path / "qmp.sock")
    made = vm_record.describe(command, wiring, [["172.17.0.2"]], (), devices=["e1000"])
    assert made.hypervisor == Process.with_pid("qemu", os.getpid())
    assert (made.qmp, made.console) == (tmp_path / "qmp.sock", None)
    (nic,) = made.nics
    assert (nic.mac, nic.addresses, nic.confined) == (port.guest_mac, ("172.17.0.2",), True)
    assert (nic.local_device, nic.nameservers, nic.device) == ("br0", (), "e1000")
    for sender in (None, Sender(None)):
        free = evolve(wiring, ports=(evolve(port, sender=sender),))
        assert not vm_record.describe(command, free, [[]], (), devices=[""]).nics[0].confined
    vm_record.save(tmp_path, made)
    assert json.loads((tmp_path / "vm.json").read_text())["version"] == vm_record.VERSION


def test_the_record_contains_the_forwarding_addresses() -> None:
    identity = testing.identity()
    command = Command(("/usr/bin/qemu",))
    for nameserver, expected in (
        ("172.17.255.254/16", ("172.17.255.254", "169.254.80.2")),
        ("169.254.7.7/32", ("169.254.7.7",)),
    ):
        wiring = testing.wiring(identity, nameserver=nameserver)
        (nic,) = vm_record.describe(command, wiring, [[]], (), devices=[""]).nics
        assert nic.nameservers[:1] == expected[:1]
        assert len(nic.nameservers) == len(expected)
