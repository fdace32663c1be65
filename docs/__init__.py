"""Documentation, and what keeps it true."""
