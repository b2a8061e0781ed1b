"""Choose the VM's disks and shared folders, and find which files they use."""
