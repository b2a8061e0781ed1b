"""The settings of this plugin. A setting that QEMU gets unchanged is a row here and an argument."""

from __future__ import annotations

from typing import Any

from vmnet.api import Setting, optional, setting, values

QEMU = optional("VMNET_QEMU", values.absolute_path, "QEMU's binary; unset: qemu-system-ARCH")
QEMU_ARGS = optional(
    "VMNET_QEMU_ARGS", values.shell_words, "further arguments for QEMU", secret=True
)
MACHINE = optional(
    "VMNET_MACHINE", values.text, "QEMU's machine type, `-machine`; unset: q35, or virt for aarch64"
)
CPU = optional(
    "VMNET_CPU", values.text, "QEMU's CPU model, `-cpu`; unset: host, or max without KVM"
)
VNC = optional("VMNET_VNC", values.text, "VNC display, `-vnc`, such as unix:/tmp/vnc.sock")
CONSOLE = setting(
    "VMNET_CONSOLE",
    values.boolean,
    "off",
    "allow `vmnet console` in addition to `docker attach`; needs QEMU 10; the image sets it on",
)
USER = setting(
    "VMNET_USER",
    values.user,
    "auto",
    "QEMU's user: root, numbers, or auto: user 64055 if it can open every file, otherwise root",
)

ROWS: tuple[Setting[Any], ...] = tuple(
    row for row in tuple(globals().values()) if isinstance(row, Setting)
)
