"""Units of work, here or on Ray, that can be killed at any moment and run again."""
