"""The one family of errors a person sees: what went wrong, what to do, and an exit code by class.

Nothing here prints or exits; ``vmnet.__main__`` does both, once.
"""

from __future__ import annotations

from signal import Signals
from typing import ClassVar


class VmnetError(Exception):
    """A start that can't go on.

    :param message: what went wrong, naming the variable or object and its value
    :param hint: what to do about it: the exact flag, command or nearest valid value
    """

    exit_code: ClassVar[int] = 1
    meaning: ClassVar[str] = "an error without a class of its own"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(VmnetError):
    exit_code = 2
    meaning = "the command line is wrong"


class SettingsError(VmnetError):
    exit_code = 10
    meaning = "an environment variable is unknown, malformed or contradicts another"


class PluginError(VmnetError):
    exit_code = 11
    meaning = "a plugin is missing, broken or breaks the hook contract"


class PrivilegeError(VmnetError):
    exit_code = 12
    meaning = "the container lacks a capability or device"


class CaptureError(VmnetError):
    exit_code = 13
    meaning = "the container's network identity can't be recorded or handed over"


class BridgeError(VmnetError):
    exit_code = 14
    meaning = "the bridge, the tap or the uplink can't be set up"


class DeliveryError(VmnetError):
    exit_code = 15
    meaning = "an IPAM strategy can't deliver the identity (dnsmasq missing or refusing, say)"


class MachineError(VmnetError):
    exit_code = 16
    meaning = "a disk, kernel or other part of the machine is missing or unusable"


class LaunchError(VmnetError):
    exit_code = 17
    meaning = "the hypervisor can't be started"


class StateError(VmnetError):
    exit_code = 18
    meaning = (
        "the run directory can't be written or is open to others, or what it holds can't be read"
    )


class AllocationError(VmnetError):
    exit_code = 21
    meaning = "an IPAM strategy can't allocate the guest's addresses, or release earlier ones"


class GuestError(VmnetError):
    exit_code = 22
    meaning = "no VM runs here, or it can't be reached, or does not do what it was asked to"


class InterruptedStartError(KeyboardInterrupt):
    """A stop signal arrived during a start.

    Not of the family, and no Exception, so that nothing that handles those takes it for its own: a
    plugin that is being imported, for one.

    :param number: of the signal; the exit code is the shell's for it
    """

    hint = ""

    def __init__(self, number: int) -> None:
        self.message = f"interrupted by {Signals(number).name} during the start"
        super().__init__(self.message)
        self.exit_code = 128 + number


FAMILY: tuple[type[VmnetError], ...] = (
    VmnetError,
    UsageError,
    SettingsError,
    PluginError,
    PrivilegeError,
    CaptureError,
    BridgeError,
    DeliveryError,
    MachineError,
    LaunchError,
    StateError,
    AllocationError,
    GuestError,
)
