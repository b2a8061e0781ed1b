"""Carry changes of the container's networks to the guest while the VM runs."""
