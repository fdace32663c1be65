"""Rounds of labelling and training: what each came to, what the next would bring, and which classes still gain."""
