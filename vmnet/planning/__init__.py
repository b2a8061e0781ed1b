"""Decide what the machine consists of: what it boots, its accelerator, its memory, its NICs."""
