"""What the bridge strategies with a tap have in common: the plan of ports and their addresses."""
