"""`vmnet check` is a promise: it refuses a container in the words of the start."""

from __future__ import annotations

import json

import pytest

from tests.lab.net.lan import Lan
from tests.lab.net.snapshot import require_same
from tests.netns.conftest import VMNET, Vmnet
from vmnet.errors import PrivilegeError


@pytest.mark.parametrize(
    ("granted", "missing"),
    [
        ("+net_raw,+net_bind_service", "NET_ADMIN"),
        ("+net_admin,+net_bind_service", "NET_RAW"),
        ("+net_admin,+net_raw", "NET_BIND_SERVICE"),
    ],
)
def test_missing_capabilities(network: Lan, vmnet: Vmnet, granted: str, missing: str) -> None:
    """As with `--cap-drop ALL --cap-add …`."""
    web = network.container("web", ipv6=True)
    before = web.dump()
    only = ("setpriv", "--bounding-set", f"-all,{granted}", "--inh-caps", "-all")
    ended = web.run(*only, *VMNET, "run", env=vmnet.environ, check=False, pid=True)
    assert ended.returncode == PrivilegeError.exit_code, ended.stderr
    assert f"the container lacks the capability {missing}, which " in ended.stderr
    require_same(before, web.dump())
    checked = web.run(*only, *VMNET, "check", "--json", env=vmnet.environ, check=False, pid=True)
    assert checked.returncode == 1
    (error,) = (line for line in ended.stderr.splitlines() if "error: " in line)
    details = [f["detail"] for f in json.loads(checked.stdout) if f["result"] == "missing"]
    assert error.partition("error: ")[2] in details
