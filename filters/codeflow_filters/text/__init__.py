"""Patches and messages as the filters read them."""
