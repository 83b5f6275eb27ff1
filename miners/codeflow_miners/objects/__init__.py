"""Git objects, read raw and checked."""
