"""codeflow: exact triples (old repository, patch, new repository) from Git histories."""

__version__ = "0.1.0"
