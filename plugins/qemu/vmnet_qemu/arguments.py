"""Turn a machine into QEMU's argument list. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator

from vmnet.api import (
    EXIT_PORT,
    FIRMWARE_LOG,
    GUARD,
    Kernel,
    Listener,
    Machine,
    Settings,
    frozen,
)
from vmnet_qemu import devices, firmware, hardware, hotplug, inherited, memory, nics, rows, slots
from vmnet_qemu.quoting import escape

_TRANSLATED_MIB = 128
_SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
_ACCELERATED = ("-accel", "--accel", "-enable-kvm", "--enable-kvm")


@frozen
class Options:
    """The part of the command that does not depend on the machine.

    :param console: add a socket to the console, in addition to standard input and output; QEMU 10
    :param extra: the user's own arguments, which come last and so take precedence
    :param version: QEMU's version, if the arguments depend on it
    """

    settings: Settings
    console: bool = False
    extra: tuple[str, ...] = ()
    version: tuple[int, int] = (0, 0)


def arguments(machine: Machine, options: Options) -> tuple[str, ...]:
    """Return QEMU's arguments, without the program; qemu(1) documents them."""
    settings, kind = options.settings, machine_type(machine, options)
    places = slots.Places(kind, options.extra)
    return (
        *("-name", f"guest={escape(machine.name)}"),
        *("-nodefaults", "-no-user-config"),
        *("-sandbox", _SANDBOX),
        *("-machine", memory.machine_type(machine, firmware.machine_type(machine.firmware, kind))),
        *_accelerator(machine, options),
        *("-cpu", settings[rows.CPU] or _cpu(machine)),
        *("-smp", _processors(machine.cpus, options.extra)),
        *memory.arguments(machine),
        *("-device", f"virtio-rng-pci,{places.small('entropy')}"),
        *firmware.arguments(machine),
        *_display(machine, options),
        *_console(machine, options),
        *_monitor(inherited.qmp(machine)),
        *_monitor(inherited.guard(machine)),
        *_exit_devices(machine, kind, guarded=settings[GUARD]),
        *_firmware_log(machine, kind),
        *devices.arguments(machine, places),
        *nics.arguments(machine, places, options.version),
        *hotplug.ports(machine.spare_nics, kind),
        *(_kernel(machine.kernel) if machine.kernel else ()),
        *options.extra,
    )


def _accelerator(machine: Machine, options: Options) -> Iterator[str]:
    """Yield ``-accel``, unless the user sets an accelerator.

    QEMU uses the first accelerator that works, and exits if ``-machine`` names one as well. In
    emulation, each boot adds 50 MiB of translated code, up to 1 GiB. With the limit set here, QEMU
    translates again what no longer fits.
    """
    if not user_sets_accelerator(options):
        bound = f",tb-size={_TRANSLATED_MIB}" if machine.accelerator == "tcg" else ""
        yield from ("-accel", machine.accelerator + bound)


def _cpu(machine: Machine) -> str:
    is_native = machine.accelerator == "kvm"
    return "host" if is_native else hardware.of(machine.architecture).emulated_cpu


def _processors(count: int, extra: tuple[str, ...]) -> str:
    """Return the CPUs as cores of one socket: some systems use only one socket or two.

    QEMU merges the user's own ``-smp`` with this, so then it has no topology.
    """
    is_given = any(word in ("-smp", "--smp") for word in extra)
    return str(count) if is_given else f"{count},sockets=1,cores={count},threads=1"


def user_sets_accelerator(options: Options) -> bool:
    """Return whether the user sets ``-accel``, ``-enable-kvm``, or a machine with ``accel=``."""
    pairs = zip(("", *options.extra), options.extra, strict=False)
    machines = [value for name, value in pairs if name in ("-machine", "--machine", "-M", "--M")]
    return any(word in _ACCELERATED for word in options.extra) or any(
        setting.startswith("accel=")
        for machine in (options.settings[rows.MACHINE] or "", *machines)
        for setting in machine.split(",")
    )


def machine_type(machine: Machine, options: Options) -> str:
    """Return QEMU's type of the machine, with its properties."""
    return options.settings[rows.MACHINE] or hardware.of(machine.architecture).machine


def _display(machine: Machine, options: Options) -> Iterator[str]:
    """Yield the VNC display and its graphics card, unless the user chooses the card."""
    vnc, found = options.settings[rows.VNC], hardware.of(machine.architecture)
    if not vnc:
        yield from ("-display", "none")
        return
    if "-vga" not in options.extra:
        yield from ("-device", found.display)
    for device in found.input:
        yield from ("-device", device)
    yield from ("-vnc", vnc)


def _console(machine: Machine, options: Options) -> Iterator[str]:
    """Yield the serial console. With signal=off, Ctrl-C reaches the guest and does not end QEMU."""
    if options.console:
        yield from ("-chardev", "stdio,id=container,signal=off")
        yield from (
            "-chardev",
            f"socket,id=attached,fd={inherited.console(machine).fd},server=on,wait=off",
        )
        yield from ("-chardev", "hub,id=console,chardevs.0=container,chardevs.1=attached")
    else:
        yield from ("-chardev", "stdio,id=console,signal=off")
    yield from ("-serial", "chardev:console")


def _monitor(socket: Listener) -> Iterator[str]:
    name = socket.path.stem
    yield from ("-chardev", f"socket,id={name},fd={socket.fd},server=on,wait=off")
    yield from ("-mon", f"chardev={name},mode=control")


def _exit_devices(machine: Machine, kind: str, *, guarded: bool) -> Iterator[str]:
    """Yield the devices for QEMU's exit status: 1 after a panic, another after a forced stop.

    At a panic QEMU pauses if the guard can end it with this status, so that the guard logs the
    panic first.
    """
    is_pc = hardware.is_pc(machine.architecture, kind)
    if is_pc:
        yield from ("-device", "pvpanic")
        yield from ("-device", f"isa-debug-exit,iobase={EXIT_PORT:#x},iosize=1")
    elif machine.architecture == "aarch64" and kind.startswith("virt"):
        yield from ("-device", f"pvpanic-pci,{slots.PANIC}")
    yield from ("-action", f"panic={'pause' if guarded and is_pc else 'exit-failure'}")


def _firmware_log(machine: Machine, kind: str) -> Iterator[str]:
    """Yield a buffer for the messages of the BIOS, where the guard looks for a failed boot."""
    if machine.kernel is None and hardware.is_pc(machine.architecture, kind):
        yield from ("-chardev", f"ringbuf,id={FIRMWARE_LOG},size=2048")
        yield from ("-device", f"isa-debugcon,iobase=0x402,chardev={FIRMWARE_LOG}")


def _kernel(kernel: Kernel) -> Iterator[str]:
    yield from ("-kernel", str(kernel.path))
    if kernel.initrd:
        yield from ("-initrd", str(kernel.initrd))
    yield from ("-append", kernel.append)
