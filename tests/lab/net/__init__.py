"""Networks of namespaces, and what a test connects to them."""
