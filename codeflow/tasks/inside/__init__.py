"""What runs inside the sandbox, with the Python of a task: nothing here imports codeflow.

Each file is a program of its own, mounted read-only; they work with Python 3.7 and later.
"""
