"""Mining a list of repositories, down to `mined/` and its index; the one door to the miners."""
