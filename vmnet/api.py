"""All that a plugin may import from vmnet: the public interface, listed in docs/api.md.

The names, and all that the exported modules define, follow ``CONTRACT``; see docs/hooks.md.
Anything else in vmnet may change in any release. :mod:`vmnet.testing` is the test kit.

Names that few plugins use load their module when a plugin first asks for them.

A plugin's own program that runs as long as the VM, such as a daemon, needs too much memory if it
imports this module. It may import :mod:`vmnet.net.packets`, :mod:`vmnet.net.packet_socket`,
:mod:`vmnet.net.netlink`, :mod:`vmnet.net.filters.cbpf`, :mod:`vmnet.supervision.log` and
:mod:`vmnet.supervision.process_name` themselves, which import next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from vmnet.errors import (
    AllocationError,
    BridgeError,
    CaptureError,
    DeliveryError,
    GuestError,
    LaunchError,
    MachineError,
    PrivilegeError,
    SettingsError,
    StateError,
    VmnetError,
)
from vmnet.hookspecs import CONTRACT, hookimpl
from vmnet.model.base import frozen
from vmnet.model.delivery import Daemon, Delivery, File, Handover
from vmnet.model.devices import (
    AGENT_CHANNEL,
    Balloon,
    Base,
    Cdrom,
    Channel,
    Device,
    Disk,
    Preparation,
    SharedFolder,
    Tpm,
    folder_tag,
)
from vmnet.model.firmware import Firmware, FirmwareVariables
from vmnet.model.identity import (
    BypassedRoute,
    Host,
    Identity,
    Interface,
    Neighbour,
    Resolver,
    Route,
    Router,
)
from vmnet.model.kept import Kept, StandIn
from vmnet.model.machine import (
    Command,
    Kernel,
    Listener,
    Machine,
    Nic,
    NicChange,
    Opened,
    User,
)
from vmnet.model.names import is_domain, is_label, shown
from vmnet.model.ports import PortRange
from vmnet.model.wiring import (
    Bridge,
    Custom,
    Local,
    Outside,
    Port,
    Redirect,
    Requirements,
    Saved,
    SavedMessage,
    Sender,
    Stream,
    Tap,
    UserMode,
    Wiring,
)
from vmnet.settings import values
from vmnet.settings.core import (
    AGENT,
    BOOT,
    BRIDGE_ADDRESS,
    DNS,
    FILTER,
    FORWARDER,
    GUARD,
    HOST_NETWORK,
    INTERFACES,
    INTERFACES_TIMEOUT,
    IPAM,
    KEEP_PORTS,
    LOCALHOST,
    LOG,
    LOST_ROUTES,
    NO_DHCP,
    NTP,
    QUEUES,
    RUN_DIR,
    SHARE,
    VHOST,
)
from vmnet.settings.table import Setting, Settings, optional, setting

if TYPE_CHECKING:
    from vmnet import engine as engine
    from vmnet import process as process
    from vmnet import program as program
    from vmnet.lifecycle import files as files
    from vmnet.lifecycle import privileges as privileges
    from vmnet.lifecycle.become import become as become
    from vmnet.model.serial import from_json as from_json
    from vmnet.model.serial import to_json as to_json
    from vmnet.net import arp as arp
    from vmnet.net import device as device
    from vmnet.net import guest_addresses as guest_addresses
    from vmnet.net import inet_sockets as inet_sockets
    from vmnet.net import links as links
    from vmnet.net import neighbours as neighbours
    from vmnet.net import packet_socket as packet_socket
    from vmnet.net import packets as packets
    from vmnet.net import resolver as resolver
    from vmnet.net import router as router
    from vmnet.net import rtnl as rtnl
    from vmnet.net import tap as tap
    from vmnet.net.filters import antispoof as antispoof
    from vmnet.net.filters import cbpf as cbpf
    from vmnet.net.filters import containment as containment
    from vmnet.net.filters import reception as reception
    from vmnet.net.filters import redirection as redirection
    from vmnet.net.filters.clsact import LackingModule as LackingModule
    from vmnet.net.kernel_errors import step as step
    from vmnet.net.restore import replay as replay
    from vmnet.net.restore import snapshot as snapshot
    from vmnet.planning import capabilities as capabilities
    from vmnet.planning.hardware import queues as queues
    from vmnet.process import Answer as Answer
    from vmnet.running import qmp_session as qmp_session
    from vmnet.supervision import engine_files as engine_files
    from vmnet.supervision import program_log as program_log
    from vmnet.supervision.exit_port import EXIT_PORT as EXIT_PORT
    from vmnet.supervision.firmware import FIRMWARE_LOG as FIRMWARE_LOG

__all__ = [
    "AGENT",
    "AGENT_CHANNEL",
    "BOOT",
    "BRIDGE_ADDRESS",
    "CONTRACT",
    "DNS",
    "FILTER",
    "FORWARDER",
    "GUARD",
    "HOST_NETWORK",
    "INTERFACES",
    "INTERFACES_TIMEOUT",
    "IPAM",
    "KEEP_PORTS",
    "LOCALHOST",
    "LOG",
    "LOST_ROUTES",
    "NO_DHCP",
    "NTP",
    "QUEUES",
    "RUN_DIR",
    "SHARE",
    "VHOST",
    "AllocationError",
    "Balloon",
    "Base",
    "Bridge",
    "BridgeError",
    "BypassedRoute",
    "CaptureError",
    "Cdrom",
    "Channel",
    "Command",
    "Custom",
    "Daemon",
    "Delivery",
    "DeliveryError",
    "Device",
    "Disk",
    "File",
    "Firmware",
    "FirmwareVariables",
    "GuestError",
    "Handover",
    "Host",
    "Identity",
    "Interface",
    "Kept",
    "Kernel",
    "LaunchError",
    "Listener",
    "Local",
    "Machine",
    "MachineError",
    "Neighbour",
    "Nic",
    "NicChange",
    "Opened",
    "Outside",
    "Port",
    "PortRange",
    "Preparation",
    "PrivilegeError",
    "Redirect",
    "Requirements",
    "Resolver",
    "Route",
    "Router",
    "Saved",
    "SavedMessage",
    "Sender",
    "Setting",
    "Settings",
    "SettingsError",
    "SharedFolder",
    "StandIn",
    "StateError",
    "Stream",
    "Tap",
    "Tpm",
    "User",
    "UserMode",
    "VmnetError",
    "Wiring",
    "folder_tag",
    "frozen",
    "hookimpl",
    "is_domain",
    "is_label",
    "optional",
    "setting",
    "shown",
    "values",
]

# Where to find each name that loads late: a module, or a name in a module.
LATE = {
    "Answer": ("vmnet.process", "Answer"),
    "EXIT_PORT": ("vmnet.supervision.exit_port", "EXIT_PORT"),
    "FIRMWARE_LOG": ("vmnet.supervision.firmware", "FIRMWARE_LOG"),
    "LackingModule": ("vmnet.net.filters.clsact", "LackingModule"),
    "antispoof": ("vmnet.net.filters.antispoof", None),
    "arp": ("vmnet.net.arp", None),
    "become": ("vmnet.lifecycle.become", "become"),
    "capabilities": ("vmnet.planning.capabilities", None),
    "cbpf": ("vmnet.net.filters.cbpf", None),
    "containment": ("vmnet.net.filters.containment", None),
    "device": ("vmnet.net.device", None),
    "engine": ("vmnet.engine", None),
    "engine_files": ("vmnet.supervision.engine_files", None),
    "files": ("vmnet.lifecycle.files", None),
    "from_json": ("vmnet.model.serial", "from_json"),
    "guest_addresses": ("vmnet.net.guest_addresses", None),
    "inet_sockets": ("vmnet.net.inet_sockets", None),
    "kept_ports": ("vmnet.net.kept.service", None),
    "links": ("vmnet.net.links", None),
    "localhost": ("vmnet.net.localhost.service", None),
    "neighbours": ("vmnet.net.neighbours", None),
    "packet_socket": ("vmnet.net.packet_socket", None),
    "packets": ("vmnet.net.packets", None),
    "privileges": ("vmnet.lifecycle.privileges", None),
    "process": ("vmnet.process", None),
    "program": ("vmnet.program", None),
    "program_log": ("vmnet.supervision.program_log", None),
    "queues": ("vmnet.planning.hardware.queues", None),
    "qmp_session": ("vmnet.running.qmp_session", None),
    "reception": ("vmnet.net.filters.reception", None),
    "redirection": ("vmnet.net.filters.redirection", None),
    "replay": ("vmnet.net.restore.replay", None),
    "resolver": ("vmnet.net.resolver", None),
    "router": ("vmnet.net.router", None),
    "rtnl": ("vmnet.net.rtnl", None),
    "snapshot": ("vmnet.net.restore.snapshot", None),
    "step": ("vmnet.net.kernel_errors", "step"),
    "tap": ("vmnet.net.tap", None),
    "to_json": ("vmnet.model.serial", "to_json"),
}


def __getattr__(name: str) -> Any:
    """Load what a plugin asks for (PEP 562)."""
    if name not in LATE:
        raise AttributeError(f"vmnet.api has no {name}")
    module, attribute = LATE[name]
    found = importlib.import_module(module)
    return found if attribute is None else getattr(found, attribute)
