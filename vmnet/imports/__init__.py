"""Make the imports of a start cheap. Everything works without this package, only slower."""
