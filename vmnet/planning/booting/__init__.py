"""Choose what the VM boots: firmware, kernel and the order of its devices."""
