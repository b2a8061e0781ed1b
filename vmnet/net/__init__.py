"""The container's network: rtnetlink, packet filters, and the built-in ``netns`` and ``bridge``.

No other package of the core uses rtnetlink. The rest of vmnet reaches the two strategies through
their hooks.
"""
