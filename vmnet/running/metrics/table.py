"""The metrics of a VM, as `vmnet metrics` prints and docs/metrics.md documents them. Pure data."""

from __future__ import annotations

from vmnet.model.base import frozen


@frozen
class Metric:
    """A metric.

    :param name: of its samples; that of a counter ends in ``_total``, that of an info in ``_info``
    :param kind: ``gauge``, ``counter``, ``info`` or ``stateset``
    :param help: one line
    :param labels: the names of the labels; the label of a stateset has the metric's name
    """

    name: str
    kind: str
    help: str
    labels: tuple[str, ...] = ()

    @property
    def family(self) -> str:
        """The name without the suffix that its kind requires."""
        return self.name.removesuffix("_total").removesuffix("_info")

    @property
    def unit(self) -> str:
        """The base unit, which ends the family's name; empty for a number."""
        last = self.family.rpartition("_")[2]
        return last if last in ("bytes", "seconds") else ""


def _counter(name: str, help: str, *labels: str) -> Metric:
    return Metric(f"{name}_total", "counter", help, labels)


def _gauge(name: str, help: str, *labels: str) -> Metric:
    return Metric(name, "gauge", help, labels)


BUILD = Metric("vmnet_build_info", "info", "The version of vmnet.", ("version",))
UP = _gauge("vmnet_up", "Whether a VM runs in this container: 1 or 0.")
HEALTH = Metric(
    "vmnet_health", "stateset", "The verdict of `vmnet health` without options.", ("vmnet_health",)
)
START_TIME = _gauge("vmnet_start_time_seconds", "When the hypervisor was started, in Unix time.")
QEMU = Metric(
    "vmnet_qemu_info", "info", "QEMU's version and accelerator.", ("version", "accelerator")
)
GUEST_RUNNING = _gauge("vmnet_guest_running", "Whether QEMU runs the guest's CPUs: 1 or 0.")
GUEST_MEMORY = _gauge(
    "vmnet_guest_memory_bytes", "The guest's memory, without memory that was plugged in later."
)
AGENT = _gauge("vmnet_guest_agent_up", "Whether qemu-guest-agent has opened its channel.")
ANSWERS = _gauge(
    "vmnet_guest_answers",
    "Whether the guest answers for all its addresses on a NIC.",
    "interface",
)
RECEIVED = _gauge(
    "vmnet_guest_identity_received",
    "Whether the guest has received its addresses, such as by DHCP leases.",
    "interface",
    "strategy",
)
PROCESS_UP = _gauge("vmnet_process_up", "Whether a process of the VM runs.", "process")
MEMORY = _gauge(
    "vmnet_process_resident_memory_bytes",
    "The resident memory of a process, with pages that it shares with others.",
    "process",
)
CPU = _counter(
    "vmnet_process_cpu_seconds", "The CPU time of a process in user and kernel mode.", "process"
)
RESTARTS = _counter(
    "vmnet_process_restarts",
    "How often a helper was started again since the start of the VM, because it had ended.",
    "process",
)
_NIC = ("interface",)
RECEIVE_BYTES = _counter("vmnet_network_receive_bytes", "Bytes that the guest received.", *_NIC)
RECEIVE_PACKETS = _counter(
    "vmnet_network_receive_packets", "Packets that the guest received.", *_NIC
)
RECEIVE_DROPPED = _counter(
    "vmnet_network_receive_dropped",
    "Packets for the guest that its tap dropped, because the guest read too slowly.",
    *_NIC,
)
TRANSMIT_BYTES = _counter("vmnet_network_transmit_bytes", "Bytes that the guest sent.", *_NIC)
TRANSMIT_PACKETS = _counter("vmnet_network_transmit_packets", "Packets that the guest sent.", *_NIC)
FILTERED = _counter(
    "vmnet_filter_dropped_packets",
    "Packets that vmnet's filter dropped at the tap (the guest's, such as with another MAC or "
    "address) or at the uplink.",
    "interface",
    "at",
)
_DISK = ("disk",)
READ_BYTES = _counter("vmnet_disk_read_bytes", "Bytes that the guest read.", *_DISK)
READS = _counter("vmnet_disk_reads_completed", "Reads of the guest that succeeded.", *_DISK)
READ_TIME = _counter("vmnet_disk_read_time_seconds", "Time that reads took.", *_DISK)
READ_ERRORS = _counter("vmnet_disk_read_errors", "Reads of the guest that failed.", *_DISK)
WRITTEN_BYTES = _counter("vmnet_disk_written_bytes", "Bytes that the guest wrote.", *_DISK)
WRITES = _counter("vmnet_disk_writes_completed", "Writes of the guest that succeeded.", *_DISK)
WRITE_TIME = _counter("vmnet_disk_write_time_seconds", "Time that writes took.", *_DISK)
WRITE_ERRORS = _counter("vmnet_disk_write_errors", "Writes of the guest that failed.", *_DISK)
FLUSHES = _counter("vmnet_disk_flushes_completed", "Flushes of the guest that succeeded.", *_DISK)

METRICS: tuple[Metric, ...] = tuple(
    row for row in tuple(globals().values()) if isinstance(row, Metric)
)
