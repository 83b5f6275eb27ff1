"""The kinds of triples that come with codeflow."""
