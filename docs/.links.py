"""Links that leave docs/ name files of a checkout: a site has none, and shows their names.

That they lead somewhere in a checkout is tested (tests/codeflow/test_docs.py).
"""

from __future__ import annotations

import re
from typing import Any


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs with the text of each page."""
    return re.sub(r"\[([^\]]*)\]\(\.\./[^)]*\)", r"\1", markdown)
