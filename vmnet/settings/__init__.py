"""The environment as typed settings: the table, the core's rows, the parsers of values."""
