"""The service: the same questions over HTTP, the accounts of a desk, a stream of what changes. No arithmetic."""
