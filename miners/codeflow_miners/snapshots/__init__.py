"""Both sides of every triple as projected trees, and the triples' rows."""
