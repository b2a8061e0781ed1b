"""A real guest on a redirected NIC."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.lab.net.lan import Lan
from tests.lab.net.services import web_server
from tests.lab.wait import WAIT
from tests.vm.conftest import DemoVm, booting

pytestmark = pytest.mark.vm

_MOVER = Path(__file__).parent / "mover"
_PAGE = "".join(f"{number:07}\n" for number in range(1 << 19))  # 4 MiB


@pytest.mark.parametrize("kind", ["veth", "macvlan"])
def test_segments_and_checksums_that_are_left_to_the_nic(
    network: Lan, machine: DemoVm, tmp_path: Path, kind: str
) -> None:
    """Virtual NICs exchange segments of up to 64 KiB, with checksums that no sender computed."""
    web, station = network.container("web", ipv6=True, kind=kind), network.station(ipv6=True)
    settings = booting(machine, _MOVER / "init", tmp_path)
    addresses = {
        "own": web.address,
        "own6": web.nic().address6,
        "other": station.address,
        "other6": station.nic().address6,
    }
    settings["VMNET_APPEND"] += "".join(f" {name}={at}" for name, at in addresses.items())
    received = [tmp_path / "7004", tmp_path / "7006"]
    with ExitStack() as stack:
        stack.enter_context(web_server(station, _PAGE))
        # With an open standard input, nc waits for the other end.
        listen = ("sh", "-c", 'exec busybox nc -l -p "${0##*/}" >"$0"')
        listening = [
            stack.enter_context(station.popen(*listen, path, pipe=True)) for path in received
        ]
        guest = stack.enter_context(machine.booted(web, **settings, VMNET_BRIDGE="redirect"))
        output = guest.says("mover: done")
        assert [process.wait(WAIT) for process in listening] == [0, 0]
    checksum = hashlib.md5(_PAGE.encode()).hexdigest()
    assert f"got: {checksum}" in output
    assert f"got by IPv6: {checksum}" in output
    assert [path.read_text() == _PAGE for path in received] == [True, True]
