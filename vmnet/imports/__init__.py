"""Save a third of a start's CPU time for imports. Everything works without this package.

bench/README.md has the measurements, and tests/netns/test_imports.py a start without the package.
"""
