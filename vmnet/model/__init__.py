"""The data that stages, hooks and tests exchange: frozen classes, compared by value."""
