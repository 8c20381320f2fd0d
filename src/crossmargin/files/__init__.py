"""Floor 2, the doors for data: rule profiles, account files, conformance cases."""
