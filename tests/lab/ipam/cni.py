"""Helpers for the tests of vmnet-ipam-cni: networks, stores and scripted CNI plugins."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import vmnet_ipam_cni as cni

from vmnet import testing
from vmnet.settings.table import Settings

# A CNI plugin that logs each call. It answers VERSION; a script answers the other commands.
_PLUGIN = """#!{python} -IS
import json, os, sys
command, log = os.environ["CNI_COMMAND"], {log!r}
stdin = sys.stdin.read()
with open(log, "a") as file:
    environ = {{key: value for key, value in os.environ.items() if key.startswith("CNI_")}}
    print(json.dumps({{"environ": environ, "stdin": json.loads(stdin)}}), file=file)
if command == "VERSION":
    print('{{"cniVersion": "1.0.0", "supportedVersions": ["0.4.0", "1.0.0"]}}')
    sys.exit()
interface = os.environ["CNI_IFNAME"]
{script}
"""


def result(*addresses: str, **more: Any) -> dict[str, Any]:
    """Return a CNI result of version 1.0.0."""
    return {"cniVersion": "1.0.0", "ips": [{"address": text} for text in addresses], **more}


class Lab:
    """A folder with a network configuration, a pool, and the run directories of containers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "vmnet.conflist"
        self.store = folder / "networks" / "pool"
        self.log = folder / "calls.log"

    def network(self, ipam: dict[str, Any], **more: Any) -> None:
        """Write a configuration list with this ipam section in its second plugin."""
        plugins = [{"type": "tuning"}, {"type": "bridge", "ipam": ipam}]
        config = {"cniVersion": "1.0.0", "name": "pool", "plugins": plugins, **more}
        self.config.write_text(json.dumps(config))

    def host_local(self, subnet: str = "10.5.0.0/24", **more: Any) -> None:
        """Write a configuration for host-local, with one subnet and a default route."""
        ipam = {
            "type": "host-local",
            "ranges": [[{"subnet": subnet}]],
            "routes": [{"dst": "0.0.0.0/0"}],
            "dataDir": str(self.folder / "networks"),
        }
        self.network({**ipam, **more})

    def scripted(self, script: str, name: str = "scripted", **more: Any) -> None:
        """Write a scripted plugin, and a configuration that uses it."""
        path = self.folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        text = _PLUGIN.format(python=sys.executable, log=str(self.log), script=script)
        path.write_text(text)
        path.chmod(0o755)
        self.network({"type": name}, **more)

    def saying(self, answer: Any) -> None:
        """Write a scripted plugin that answers ADD with *answer*."""
        output = answer if isinstance(answer, str) else json.dumps(answer)
        self.scripted(f"if command == 'ADD': print({output!r})")

    def calls(self) -> list[dict[str, Any]]:
        """Return the environment and input of each call of the scripted plugin, except VERSION."""
        text = self.log.read_text() if self.log.exists() else ""
        whole = text[: text.rfind("\n") + 1]  # without a line that is being written
        calls = [json.loads(line) for line in whole.splitlines()]
        return [call for call in calls if call["environ"]["CNI_COMMAND"] != "VERSION"]

    def commands(self) -> list[str]:
        environs = [call["environ"] for call in self.calls()]
        return [f"{environ['CNI_COMMAND']} {environ['CNI_IFNAME']}" for environ in environs]

    def environ(self, run_dir: str = "run", **more: str) -> dict[str, str]:
        return {
            "VMNET_IPAM": "cni",
            "VMNET_RUN_DIR": str(self.folder / run_dir),
            "VMNET_CNI_CONFIG": str(self.config),
            "VMNET_CNI_PATH": f"{self.folder}/bin:/usr/lib/cni",
            **more,
        }

    def settings(self, run_dir: str = "run", **more: str) -> Settings:
        return testing.settings(self.environ(run_dir, **more), *cni.vmnet_settings())

    def held(self) -> list[str]:
        """Return the addresses in host-local's store."""
        if not self.store.exists():
            return []
        names = (path.name for path in self.store.iterdir())
        return sorted(name for name in names if name[0].isdigit() or ":" in name)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)
