"""The only way in: bytes are judged by what they are, decoded once and whole, and stored once with every sighting."""
