"""Brings a source here and opens it, without trusting it."""
