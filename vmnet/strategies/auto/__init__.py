"""The ``auto`` strategy: a bridge for each NIC that can be a port of one, else a redirection."""
