"""The stages after mining: each reads `mined/` and earlier decisions, and writes its own decisions.

`batches` cuts what was mined into parts, a unit of work each; `decisions` is what stages write.
"""
