"""The built-in strategies: plugins like any other, and examples for their authors."""
