"""Floor 3, the questions: pure functions; the first line of each file is the question."""
