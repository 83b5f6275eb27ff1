"""What else a run says of itself: what its loop does, and other programs that get the metrics."""
