"""``cloudinit``: a NoCloud seed."""
