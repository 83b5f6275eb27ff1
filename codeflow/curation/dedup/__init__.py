"""The stage `dedup`: of changes that are the same, or nearly, one is kept."""
