"""Floor 2, the arithmetic: each formula once."""
