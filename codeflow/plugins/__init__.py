"""Miners and filters, found through entry points, and what tells them apart."""
