"""The stages after mining: each reads `mined/` and earlier decisions, and writes its own decisions.

`parts` cuts what was mined into pieces of work; `decisions` is what every stage writes.
"""
