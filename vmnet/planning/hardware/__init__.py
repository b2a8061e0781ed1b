"""Choose what the VM takes of the host: accelerator, CPUs, memory, vhost and its queues."""
