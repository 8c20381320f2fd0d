"""What the service keeps: accounts with their history, tokens, answers already given, and who did what."""
