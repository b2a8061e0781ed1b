"""From plan to running machine: effects, their undoing, saved state, and the final exec."""
