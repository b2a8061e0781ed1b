"""Disk images: recognise their format by content, and decide whether QEMU can serve them."""
