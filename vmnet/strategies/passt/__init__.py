"""The bridge strategy ``passt``: a process turns the guest's connections into sockets."""
