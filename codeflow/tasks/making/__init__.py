"""From triples to tasks: candidates, their environments, and what their tests do."""
