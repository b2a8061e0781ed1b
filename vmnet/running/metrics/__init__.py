"""The metrics of the running VM: what they are, their current values, and their text format."""
