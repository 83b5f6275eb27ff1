"""The first-parent chain: commits, messages, authors, forks."""
