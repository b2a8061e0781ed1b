"""The ``netns`` capture strategy: read the identity of this network namespace."""
