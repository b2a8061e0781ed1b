"""vmnet hands a container's network identity to the virtual machine inside it."""

__version__ = "0.2.0"
