"""Decide what the machine consists of: its disk image, its kernel, its memory."""
