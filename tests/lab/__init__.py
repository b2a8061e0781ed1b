"""The test lab: real namespaces, DHCP clients, consoles and containers, in a few lines."""
