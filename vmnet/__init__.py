"""vmnet hands a container's network identity to the virtual machine inside it."""

__version__ = "0.1.0"
