"""One module a question: its command, its options, its table."""
