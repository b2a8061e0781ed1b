"""Inspect and control a running VM from another process in its container (`docker exec`)."""
