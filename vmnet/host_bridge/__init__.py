"""Configuration for a bridge to the host's network, and a check of the host.

Nothing here changes the host.
"""
