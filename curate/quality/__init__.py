"""Pictures that are too poor to learn from: found, and set aside, never thrown away."""
