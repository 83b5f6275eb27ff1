"""Spans: runs of commits that are one piece of work, found on features of the steps alone."""
