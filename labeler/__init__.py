"""Label Studio: its server, its labelling page, and what goes to and fro."""
