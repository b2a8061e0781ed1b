"""Programs that run as long as the machine: the guard, the keeper and what they start."""
