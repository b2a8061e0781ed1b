"""``vmnet demo``: the whole of vmnet on one machine, in a minute and without a container engine.

A network namespace laid out as Docker lays out a container stands for the container, another one
with the bridge docker0 for the host around it. In between runs the real thing: ``vmnet run``,
dnsmasq, QEMU and the demonstration guest.
"""
