"""Profiles: filters that go together, under one name.

`default` keeps whatever a reader would call a change worth learning from. `strict` is for annealing
data, where few and good examples count: the tightest figures of the papers that each filter names,
whole files short enough to show, and licences that were recognised and are permissive. `default`
asks for no licence and opts nobody out: which sources may be used is for those to say who list
them. Order does not matter here; the pipeline runs cheap filters first.
"""

from __future__ import annotations

from typing import Final

from codeflow.contracts import Profile

NONE: Final = Profile("keeps everything", {})

DEFAULT: Final = Profile(
    "drops what nobody would learn from",
    {
        "bots": {},
        "paths": {},
        "size": {},
        "message": {},
        "worth": {},
        "reverts": {},
        "content": {},
        "trivial": {},
        "sweeps": {},
        "syntax": {},
        "secrets": {},
    },
)

STRICT: Final = Profile(
    "for annealing data: little, clean, permissively licensed",
    {
        **DEFAULT.filters,
        "license": {"keep_unknown": False},
        "paths": {"max_share": 0.5},
        "size": {"max_files": 8, "max_lines": 500, "max_tokens": 8192},
        "message": {"min_words": 5, "min_share": 0.75},
        "content": {"max_mean_chars": 100.0, "max_share": 0.05},
        "file-size": {"max_bytes": 50_000, "max_lines": 1000},
    },
)
