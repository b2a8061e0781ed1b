"""What can be seen of a running machine, and done to it, from beside it: by `docker exec`."""
