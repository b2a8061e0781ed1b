"""A bridge to the host's network: the configuration a host needs, and whether it has it.

Nothing here changes a host; it writes text and looks.
"""
