"""What is measured: `make bench`. Nothing here runs in a test."""
