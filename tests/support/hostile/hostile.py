"""Broken and hostile repositories: `HOSTILE` maps a name to a builder that makes one on disk.

    case = HOSTILE["fifo-head"](tmp_path)  # `case.line` goes into a list of repositories,
    case.expect                            # what a run may do with it: {"special-file"}

Most have 30 ordinary commits on `src/app.py` with the mischief in the middle of the window, so that
they can be mined apart from it. Builders write below the folder they are given and nowhere else.
"""

from __future__ import annotations

import sys
from pathlib import Path

import hostile_contents
import hostile_folders
import hostile_objects
import hostile_settings
from hostile_case import MINED, HostileCase, history

__all__ = ["HOSTILE", "MINED", "HostileCase", "history"]

HOSTILE = {
    **hostile_contents.CASES,
    **hostile_objects.CASES,
    **hostile_settings.CASES,
    **hostile_folders.CASES,
}

if (
    __name__ == "__main__"
):  # python tests/support/hostile/hostile.py FOLDER: to look at them by hand
    for case_name, make in HOSTILE.items():
        print(f"{case_name}: {make(Path(sys.argv[1]))}")
