"""Documents of others: read, cleaned, deduplicated, and packed into the same rows as triples."""
