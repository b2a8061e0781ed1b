"""The ``bridge`` strategy: connect each NIC to the guest by a Linux bridge and a tap."""
