"""The command line: it owns argv, stdout, stderr and exit codes, and nothing else does."""
