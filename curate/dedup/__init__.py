"""Near-duplicates: pairs are proposed by their hashes, looked at by a verifier, and grouped if they hold."""
