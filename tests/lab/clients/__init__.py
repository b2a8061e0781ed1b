"""Real DHCP clients."""
