"""Which paths differ, from trees alone, and how they are cut into units."""
