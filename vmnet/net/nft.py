"""Load nftables rulesets with nft(8), by its JSON interface (libnftables-json(5))."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from vmnet import engine, process
from vmnet.errors import BridgeError, PrivilegeError

_NEEDS = {
    "VMNET_KEEP_PORTS or VMNET_METRICS": "ingress and egress of devices (Linux 5.16, "
    "CONFIG_NETFILTER_EGRESS), nft_fwd_netdev, nft_dup_netdev",
    "VMNET_LOCALHOST": "ingress of devices, nft_socket, nft_dup_ipv4, nft_dup_ipv6",
}


def check(ruleset: Mapping[str, Any], setting: str) -> None:
    """Let the kernel check a ruleset without loading it.

    :param setting: the variables that need the ruleset
    :raises BridgeError: nft is missing, or the kernel lacks what the ruleset needs
    :raises PrivilegeError: the capability NET_ADMIN is missing
    """
    _nft(ruleset, setting, "--check")


def load(ruleset: Mapping[str, Any], setting: str) -> None:
    """Load a ruleset: all of it, or nothing.

    :param setting: the variables that need the ruleset
    :raises BridgeError: nft is missing, or the kernel lacks what the ruleset needs
    :raises PrivilegeError: the capability NET_ADMIN is missing
    """
    _nft(ruleset, setting)


def _nft(ruleset: Mapping[str, Any], setting: str, *options: str) -> None:
    hint = (
        f"{setting} needs the package nftables, and a kernel with nftables' hooks and modules: "
        f"{_NEEDS[setting]}"
    )
    program = process.find("nft")
    if program is None:
        raise BridgeError("the program nft is missing", hint)
    argv = (str(program), "--json", *options, "--file", "-")
    try:
        answer = process.ask(argv, stdin=json.dumps(ruleset).encode())
    except OSError as error:
        raise BridgeError(f"can't run {program}: {error.strerror or error}", hint) from None
    if not answer.status:
        return
    if "not permitted" in answer.stderr:
        raise PrivilegeError(
            "no permission to change nftables rules", engine.capability("NET_ADMIN")
        )
    first, *_ = answer.stderr.splitlines() or [f"exit status {answer.status}"]
    raise BridgeError(f"nft refuses the rules for {setting}: {first}", hint)
