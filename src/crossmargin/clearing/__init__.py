"""Floor 3, the books of record: commands in, events out."""
