"""Save the configuration of a NIC and give it back, whatever state the NIC is in."""
