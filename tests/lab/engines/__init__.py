"""Private container engines."""
