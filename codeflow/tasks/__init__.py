"""Executable tasks from triples: a repository before a change, hidden tests, and a patch that is
known to make them pass; and the grader that says whether another patch does."""
