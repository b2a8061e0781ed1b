"""Programs that run as long as the VM: the guard, the keeper and the programs they start."""
