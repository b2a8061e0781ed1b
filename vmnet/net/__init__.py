"""The built-in capture and bridge strategies: the only place that speaks to the kernel's network.

Other parts of vmnet see the strategies ``netns`` and ``bridge`` through their hooks.
"""
