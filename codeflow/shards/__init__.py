"""The one definition of a token shard: its format, its writer, its readers."""
