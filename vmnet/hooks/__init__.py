"""Plugins: find, load and select them, and call their hooks."""
