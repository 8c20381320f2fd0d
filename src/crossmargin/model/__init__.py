"""Floor 1, the nouns: frozen data and validation, no arithmetic."""
