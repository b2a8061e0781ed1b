"""containerd, driven through Kubernetes' Container Runtime Interface (CRI)."""
