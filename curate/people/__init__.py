"""The people who label: whose answer counts, how far they agree, what pre-labels do to them, and what is left."""
