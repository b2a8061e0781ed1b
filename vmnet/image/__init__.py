"""Disk images: their formats, recognised by content, and whether they can be served."""
