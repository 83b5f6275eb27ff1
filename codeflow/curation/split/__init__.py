"""The stage `split`: what is held out for validation."""
