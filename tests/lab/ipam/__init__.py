"""Servers and plugins that the example IPAM strategies talk to."""
