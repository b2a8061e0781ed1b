"""A kernel without packet filters causes a warning."""

from __future__ import annotations

import logging
from typing import Any, cast

import pytest

from tests.unit import frames
from vmnet.net import links, rtnl
from vmnet.strategies.bridge import build
from vmnet.strategies.bridge.bridged import Bridged

_DHCP, _NETWORK, _SENDER, _SERVICES = (
    "another DHCP server on its network may answer the guest",
    "hosts on its network can impersonate the guest and query this container's DNS",
    "the guest can send from any address",
    "the guest can reach every service in this container",
)


class Kernel:
    """A kernel without queueing disciplines."""

    def send_body(self, *_: Any) -> None:
        raise rtnl.RtnlError(2, "Specified qdisc kind is unknown")


@pytest.mark.parametrize(
    ("changes", "consequences"),
    [
        ({"contain": True, "sender": frames.OWN}, (_DHCP, _NETWORK, _SENDER, _SERVICES)),
        ({"contain": True}, (_DHCP, _NETWORK, _SERVICES)),
        ({"sender": frames.ANY}, (_NETWORK, _SENDER, _SERVICES)),
    ],
)
def test_a_kernel_without_filters_is_reported_once(
    changes: dict[str, Any],
    consequences: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(links, "index", lambda name: 7)
    with caplog.at_level(logging.WARNING):
        build._filter(cast(rtnl.Rtnl, Kernel()), Bridged.of(frames.port(**changes)))
    assert caplog.messages == [
        "eth0 is not filtered (the kernel lacks clsact or cls_bpf): " + "; ".join(consequences)
    ]
