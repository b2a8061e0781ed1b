"""``vmnet demo``: demonstrate vmnet on one machine, in a minute and without a container engine.

A network namespace with Docker's layout stands for the container. Another namespace, with the
bridge docker0, stands for the host. The rest is real: ``vmnet run``, dnsmasq, QEMU and the
demonstration guest.
"""
