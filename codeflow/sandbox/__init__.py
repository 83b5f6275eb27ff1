"""Runs untrusted code where it can touch nothing, and says what came of it.

`find_sandbox` gives the sandbox of this machine; `Sandbox.run` takes a `Job` (words of a command,
files, limits) and returns an `Outcome`. The room knows nothing of tasks, tests or models.
"""
