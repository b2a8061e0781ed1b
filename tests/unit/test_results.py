"""Results of hooks whose types are right, but which no start can use: the plugin is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit import fakes
from vmnet import testing
from vmnet.errors import PluginError
from vmnet.hooks.facade import Hooks
from vmnet.model.delivery import Daemon, Delivery, File
from vmnet.model.machine import Command

RUN = Path("/run/vmnet")
IDENTITY = testing.identity()
WIRING = testing.wiring(IDENTITY)


def deliver(hooks: Hooks) -> object:
    return hooks.deliver(IDENTITY, WIRING)


def launch(hooks: Hooks) -> object:
    return hooks.launch_command(testing.machine(), ())


def daemon(*argv: str, refresh: tuple[str, ...] = ()) -> Delivery:
    return Delivery("x", daemons=(Daemon("helper", argv, RUN / "helper.pid", refresh=refresh),))


@pytest.mark.parametrize(
    ("hook", "result", "call", "fault"),
    [
        (
            "vmnet_devices",
            ("disk",),
            lambda hooks: hooks.devices(IDENTITY, WIRING),
            "the result[0] is str, not Disk or Cdrom or Channel or Tpm or SharedFolder or Balloon",
        ),
        (
            "vmnet_ipam_status",
            (None,),
            lambda hooks: hooks.status(IDENTITY, WIRING),
            "the result[0] is NoneType, not Handover",
        ),
        ("vmnet_launch_command", Command(()), launch, "Command.argv is empty"),
        (
            "vmnet_launch_command",
            Command(("qemu",)),
            launch,
            "Command.argv begins with 'qemu', which is not an absolute path",
        ),
        ("vmnet_launch_command", Command(("/q", "a\0")), launch, "Command.argv contains a NUL"),
        ("vmnet_ipam_deliver", daemon(), deliver, "the argv of helper is empty"),
        (
            "vmnet_ipam_deliver",
            daemon("/helper", refresh=("reload",)),
            deliver,
            "the refresh of helper begins with 'reload', which is not an absolute path",
        ),
        (
            "vmnet_ipam_deliver",
            Delivery("x", files=(File(RUN / "x", b"", 0o4755),)),
            deliver,
            "the mode of /run/vmnet/x is 0o4755",
        ),
    ],
)
def test_a_result_that_no_start_can_use(
    hook: str,
    result: object,
    call: Callable[[Hooks], object],
    fault: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hooks = fakes.stages(monkeypatch, **{hook: lambda: result})
    with pytest.raises(PluginError) as caught:
        call(hooks)
    assert caught.value.message == (
        f"plugin fake (vmnet-fake 1.0) returned a wrong value from {hook}: {fault}"
    )
