"""Conversations: what is said, what is trained of it, one rendering and its template."""
