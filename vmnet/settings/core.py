"""The core's settings."""

from __future__ import annotations

from typing import Any

from vmnet.settings import cdrom_values, disk_values, endpoint, values
from vmnet.settings.table import Setting, optional, setting

NO_DHCP = setting(
    "NO_DHCP",
    values.boolean,
    "false",
    "do not serve DHCP; another system gives the guest its address (same as VMNET_IPAM=nodhcp)",
)
CAPTURE = setting(
    "VMNET_CAPTURE", values.name, "netns", "strategy that records the container's identity"
)
BRIDGE = setting(
    "VMNET_BRIDGE",
    values.listed(values.name),
    "auto",
    "strategies that wire the guest, tried in order; auto: bridge, or redirect for macvlan, ipvlan",
)
IPAM = setting(
    "VMNET_IPAM",
    values.listed(values.name),
    "dnsmasq",
    "comma-separated strategies that hand the identity to the guest",
)
FORWARDER = setting(
    "VMNET_FORWARDER",
    values.name,
    "dnsmasq",
    "strategy that forwards the guest's DNS queries if the container's resolver is on loopback",
)
DEVICES = optional(
    "VMNET_DEVICES",
    values.listed(values.name),
    "comma-separated plugins that add devices to the VM, in addition to those of VMNET_IPAM",
)
LAUNCH = setting("VMNET_LAUNCH", values.name, "qemu", "strategy that starts the VM")
INTERFACES = optional(
    "VMNET_INTERFACES",
    values.listed(values.name),
    "comma-separated interfaces to hand over; unset: all",
)
HOST_NETWORK = setting(
    "VMNET_HOST_NETWORK",
    values.choice("refuse", "take"),
    "refuse",
    "refuse or take over a network that other programs use, as with `--network host`",
    strategy="netns",
)
INTERFACES_TIMEOUT = setting(
    "VMNET_INTERFACES_TIMEOUT",
    values.integer(0, 86400),
    "10",
    "seconds to wait for an interface that VMNET_INTERFACES names and that is missing or is down",
    strategy="netns",
    needs=INTERFACES,
)
LOST_ROUTES = setting(
    "VMNET_LOST_ROUTES",
    values.choice("refuse", "accept"),
    "refuse",
    "refuse or accept to start if the guest bypasses a route through another interface (a VPN)",
)
BRIDGE_ADDRESS = setting(
    "VMNET_BRIDGE_ADDRESS",
    values.bridge_address,
    "auto",
    "the bridge's own address: auto, link-local, spare (a free address of the subnet), or a CIDR",
    by_bridge=True,
)
FILTER = setting(
    "VMNET_FILTER",
    values.boolean,
    "on",
    "limit the guest to its own MAC and addresses; off: it may route, or run several machines",
    by_bridge=True,
)
KEEP_PORTS = optional(
    "VMNET_KEEP_PORTS",
    values.ports,
    "ports of the guest's addresses that stay with the container, such as 8006,5900-5910,161/udp",
    by_bridge=True,
)
LOCALHOST = setting(
    "VMNET_LOCALHOST",
    values.choice("auto", "on", "off"),
    "auto",
    "programs of the container reach the guest at 127.0.0.1 and ::1; auto: in Kubernetes' pods",
    by_bridge=True,
)
DNS = optional(
    "VMNET_DNS",
    values.listed(values.ip),
    "comma-separated nameservers for the guest, instead of the container's",
)
NTP = optional(
    "VMNET_NTP",
    values.listed(values.ip),
    "comma-separated time servers for the guest",
)
DISK = optional(
    "VMNET_DISK",
    disk_values.first,
    "disk image, block device or URL to boot, with options such as `/disk.img,bus=sata,boot=1`",
)
DISK2, DISK3, DISK4, DISK5, DISK6, DISK7, DISK8 = (
    optional(
        f"VMNET_DISK{number}",
        disk_values.further,
        "a further disk, as VMNET_DISK; also with format=, mode=, size= and sha256=",
    )
    for number in range(2, 9)
)
FURTHER_DISKS = (DISK2, DISK3, DISK4, DISK5, DISK6, DISK7, DISK8)
DISK_FORMAT = setting(
    "VMNET_DISK_FORMAT",
    values.choice(*disk_values.FORMATS),
    "auto",
    "format of VMNET_DISK; auto detects it; vpc is VHD",
    needs=DISK,
)
DISK_SHA256 = optional(
    "VMNET_DISK_SHA256",
    disk_values.sha256,
    "the checksum of VMNET_DISK if it is a URL, which a start downloads and verifies",
    needs=DISK,
)
DISK_BACKING = optional(
    "VMNET_DISK_BACKING",
    values.listed(values.absolute_path),
    "comma-separated folders of backing files, in addition to the folder of the disk itself",
)
DISK_MODE = setting(
    "VMNET_DISK_MODE",
    values.choice(*disk_values.MODES),
    "persistent",
    "where the guest's writes go: to VMNET_DISK, nowhere (ephemeral), or to an overlay",
    needs=DISK,
)
DISK_STATE = setting(
    "VMNET_DISK_STATE",
    values.folder,
    "/var/lib/vmnet",
    "folder of overlays, UEFI's variables and the TPM's state, which must survive with the disks",
)
DISK_SIZE = optional(
    "VMNET_DISK_SIZE",
    values.size,
    "create VMNET_DISK with this size, or enlarge it, such as 20G; never shrinks it",
    needs=DISK,
)
CDROM = optional(
    "VMNET_CDROM",
    cdrom_values.cdrom,
    "ISO image in the guest's CD drive, with options such as `/a.iso,bus=sata,boot=1`",
)
SHARE = optional(
    "VMNET_SHARE",
    values.listed(values.folder),
    "comma-separated folders of the container that the guest can mount, such as /data",
)
KERNEL = optional("VMNET_KERNEL", values.absolute_path, "kernel to boot directly")
INITRD = optional("VMNET_INITRD", values.absolute_path, "initial ramdisk for VMNET_KERNEL")
APPEND = optional("VMNET_APPEND", values.text, "kernel command line for VMNET_KERNEL")
DEMO = setting(
    "VMNET_DEMO",
    values.absolute_path,
    "/usr/share/vmnet/demo",
    "folder of the demonstration Linux, which boots if no disk, CD or kernel is set",
    unless=(DISK, *FURTHER_DISKS, CDROM, KERNEL),
)
ARCH = setting(
    "VMNET_ARCH",
    values.architecture,
    "auto",
    "the guest's processor: x86_64 or aarch64; auto: the container's; QEMU emulates the other",
)
FIRMWARE = setting(
    "VMNET_FIRMWARE",
    values.firmware,
    "auto",
    "bios, uefi, secureboot, none, or an image; auto: uefi if the disk or the processor needs it",
)
BOOT = setting(
    "VMNET_BOOT",
    values.listed(values.choice("disk", "network")),
    "disk",
    "what to boot, in this order: disk (and CD), network (PXE on the first NIC)",
    unless=(KERNEL,),
)
TPM = setting(
    "VMNET_TPM",
    values.boolean,
    "off",
    "give the guest a TPM 2.0, whose state is kept in VMNET_DISK_STATE",
)
MEMORY = setting(
    "VMNET_MEMORY",
    values.memory,
    "auto",
    "the guest's memory; auto: the container's limit without 300 MiB for QEMU, or else 512 MiB",
)
HUGEPAGES = setting(
    "VMNET_HUGEPAGES",
    values.boolean,
    "off",
    "take the guest's memory from the host's huge pages, all of it at the start",
)
BALLOON = setting(
    "VMNET_BALLOON",
    values.boolean,
    "on",
    "a memory balloon, by which the guest returns free memory to the host",
    unless=(HUGEPAGES,),
)
CPUS = setting(
    "VMNET_CPUS",
    values.cpus,
    "auto",
    "the guest's virtual CPUs; auto: the container's limit, or 1 without a limit; max: all",
)
ACCEL = setting(
    "VMNET_ACCEL",
    values.choice("auto", "kvm", "tcg"),
    "auto",
    "accelerator; auto: KVM if the device and the CPU support it, otherwise TCG",
)
NIC_MODEL = setting(
    "VMNET_NIC_MODEL",
    values.nic_models,
    "virtio",
    "model of the guest's NICs: virtio, e1000, e1000e, rtl8139, vmxnet3; e1000,eth1=virtio for two",
)
AGENT = setting(
    "VMNET_AGENT",
    values.boolean,
    "on",
    "a channel to qemu-guest-agent in the guest, for `vmnet exec`, `status` and `snapshot`",
)
VHOST = setting(
    "VMNET_VHOST",
    values.choice("auto", "on", "off"),
    "auto",
    "let the kernel carry the packets of virtio NICs; auto: with KVM, if /dev/vhost-net opens",
    by_bridge=True,
)
QUEUES = optional(
    "VMNET_QUEUES",
    values.integer(1, 16),
    "queues of a virtio NIC; unset: as many as CPUs, at most 4, with vhost, or else 1",
    by_bridge=True,
)
HOTPLUG = setting(
    "VMNET_HOTPLUG",
    values.integer(0, 8),
    "4",
    "slots for networks that are connected while the VM runs; 0: it never gets them, nor changes",
)
RESTORE_NETWORK = setting(
    "VMNET_RESTORE_NETWORK",
    values.choice("auto", "on", "off"),
    "auto",
    "put the network back when the VM ends; auto: if other programs use the namespace",
)
GUARD = setting(
    "VMNET_GUARD",
    values.boolean,
    "on",
    "on: a stop signal presses the guest's power button; off: it ends the hypervisor at once",
)
STOP_TIMEOUT = optional(
    "VMNET_STOP_TIMEOUT",
    values.integer(1, 86400),
    "seconds for the guest to power off, below `docker stop -t`; unset: by engine and accelerator",
    needs=GUARD,
)
HOOK_TIMEOUT = setting(
    "VMNET_HOOK_TIMEOUT",
    values.integer(1, 86400),
    "60",
    "seconds after which vmnet interrupts a plugin's hook or import",
)
RUN_DIR = setting(
    "VMNET_RUN_DIR",
    values.folder,
    "/run/vmnet",
    "folder, owned by root, for saved state, rendered files and control sockets",
)
METRICS = optional(
    "VMNET_METRICS",
    endpoint.parse,
    "serve the VM's metrics on this port, which the container keeps, such as 9100",
)
LOG = setting("VMNET_LOG", values.choice("text", "json"), "text", "format of the log on stderr")
LOG_LEVEL = setting(
    "VMNET_LOG_LEVEL",
    values.choice("debug", "info", "warning", "error"),
    "info",
    "least severe level to log; debug adds tracebacks",
)

CORE: tuple[Setting[Any], ...] = tuple(
    row for row in tuple(globals().values()) if isinstance(row, Setting)
)
