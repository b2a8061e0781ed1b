"""Save the configuration of a NIC, and restore it from any state that the NIC is in."""
