"""What venues and exchange clients answer, read into the parts of an account file; one module a venue."""
