"""The errors that vmnet reports: a message, a hint, and an exit code for each class.

Nothing here prints or exits: ``vmnet.__main__`` does.
"""

from __future__ import annotations

from signal import Signals
from typing import ClassVar


class VmnetError(Exception):
    """An error that ends a command.

    :param message: what went wrong, with the name and value of the variable or object
    :param hint: how to fix it: the exact flag, command or nearest valid value
    """

    exit_code: ClassVar[int] = 1
    meaning: ClassVar[str] = "any other error"

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
    """A privilege is missing.

    :param avoidable: a setting makes it unnecessary, so no other bridge strategy is tried instead
    """

    exit_code = 12
    meaning = "the container lacks a capability or device"

    def __init__(self, message: str, hint: str = "", *, avoidable: bool = False) -> None:
        super().__init__(message, hint)
        self.avoidable = avoidable


class CaptureError(VmnetError):
    exit_code = 13
    meaning = "the container's network identity can't be recorded or handed over"


class BridgeError(VmnetError):
    exit_code = 14
    meaning = "the bridge, the tap or the uplink can't be set up"


class DeliveryError(VmnetError):
    exit_code = 15
    meaning = "an IPAM strategy can't deliver the identity, for example because dnsmasq is missing"


class MachineError(VmnetError):
    exit_code = 16
    meaning = "a disk, kernel or other part of the machine is missing or unusable"


class LaunchError(VmnetError):
    exit_code = 17
    meaning = "the hypervisor can't be started"


class StateError(VmnetError):
    exit_code = 18
    meaning = "the run directory is not writable, or open to other users, or has unreadable files"


class AllocationError(VmnetError):
    exit_code = 21
    meaning = "an IPAM strategy can't allocate the guest's addresses, or release earlier addresses"


class GuestError(VmnetError):
    exit_code = 22
    meaning = "no VM runs here, or the VM can't be reached or does not carry out a command"


class InterruptedStartError(KeyboardInterrupt):
    """A stop signal arrived during a start.

    This is neither a :class:`VmnetError` nor an :class:`Exception`, so that code which handles
    those does not catch it, for example a plugin during its import.

    :param number: the signal's number; the exit code is 128 plus this number, as in a shell
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
