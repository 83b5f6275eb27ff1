"""Contents: read once, judged, diffed, described."""
