"""From a plan to a running VM: the effects, their undos, the saved state and the final exec."""
