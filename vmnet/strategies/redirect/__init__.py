"""The ``redirect`` strategy: filters send the frames of each NIC and of a tap to each other."""
