"""Syntax for filters: grammars, a parser that may die, and looks that need none."""
