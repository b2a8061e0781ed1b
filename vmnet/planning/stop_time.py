"""The time that a guest has to power off after a stop signal.

The engine kills the container some time after the signal. The container can't read this limit, so
the default fits the engine's own default.
"""

from __future__ import annotations

from vmnet import engine
from vmnet.model.base import frozen

STOP_SECONDS = 30
"""The time that `vmnet stop` gives the guest by default: no engine limits it."""

# Debian with systemd, on one emulated CPU.
_EMULATED_GUEST_SECONDS = 10


@frozen
class _Limit:
    """The default limit of an engine.

    :param seconds: from the stop signal to SIGKILL
    :param reserve: for QEMU, which writes back its disks
    :param emulated_reserve: if the CPU is emulated: such a guest needs all the time that there is,
        and has written less
    :param remedy: how to raise it above VMNET_STOP_TIMEOUT
    """

    seconds: int
    reserve: int
    emulated_reserve: int
    remedy: str


_CLIENT = "`{engine} run --stop-timeout {limit} -e VMNET_STOP_TIMEOUT={stop}`"
_COMPOSE = "; in Compose files and stacks `stop_grace_period: {limit}s`"
_LIMITS = {
    "docker": _Limit(10, 2, 1, _CLIENT + _COMPOSE),
    "podman": _Limit(10, 2, 1, _CLIENT + "; in a Kubernetes file `terminationGracePeriodSeconds`"),
    "kubernetes": _Limit(
        *(30, 5, 2),
        "VMNET_STOP_TIMEOUT={stop}, and in the pod's spec `terminationGracePeriodSeconds: {limit}`",
    ),
}


def choose(requested: int | None, accelerator: str) -> int:
    """Return the seconds from a stop signal to the forced stop.

    :param requested: VMNET_STOP_TIMEOUT
    :param accelerator: ``kvm`` or ``tcg``
    """
    if requested is not None:
        return requested
    limit = _LIMITS[engine.name()]
    return limit.seconds - (limit.emulated_reserve if accelerator == "tcg" else limit.reserve)


def shortage(requested: int | None, accelerator: str) -> str:
    """Return why the guest may be cut off; empty if it has time enough.

    :param requested: VMNET_STOP_TIMEOUT
    :param accelerator: ``kvm`` or ``tcg``
    """
    seconds = choose(None, accelerator)
    if requested is not None or accelerator != "tcg" or seconds >= _EMULATED_GUEST_SECONDS:
        return ""
    return (
        f"an emulated guest may need longer than {seconds} s to power off, but by default the "
        f"engine kills a container after {_LIMITS[engine.name()].seconds} s"
    )


def remedy(seconds: int) -> str:
    """Return how to give the guest more time.

    :param seconds: the time that it has
    """
    name, stop = engine.name(), max(60, 2 * seconds)
    words = _LIMITS[name].remedy.format(engine=name, stop=stop, limit=stop + 10)
    return f"give it more time: {words}"
