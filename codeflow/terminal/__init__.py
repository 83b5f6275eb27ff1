"""What people see: progress, summaries, triples, the report."""
