"""Text of strangers: what in it names people. Pure functions that miners may import, too."""
