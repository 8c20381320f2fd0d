"""Floor 4, the doors for people and machines: no arithmetic."""
