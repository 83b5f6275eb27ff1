"""Renderings: how a triple becomes training documents, one module each.

A rendering is a function of a triple, the options and a key; all its randomness comes from the
key, which holds the seed, the triple's id and the number of the copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from codeflow.documents.document import (
    END_OF_TEXT,
    FILE_SEP,
    FIM_MIDDLE,
    FIM_PREFIX,
    FIM_SUFFIX,
    IM_END,
    IM_START,
    REPO_NAME,
    Document,
)
from codeflow.documents.options import Options
from codeflow.documents.triples import blocks, diff, fim, flow, snapshot
from codeflow.documents.triples import files as whole
from codeflow.triple import Triple

_REPLIES = (END_OF_TEXT, IM_START, IM_END, REPO_NAME, FILE_SEP)
_HOLES = (END_OF_TEXT, IM_END, REPO_NAME, FILE_SEP, FIM_PREFIX, FIM_SUFFIX, FIM_MIDDLE)


class Rendering(NamedTuple):
    """`render(triple, options, key)` yields documents; `loss` is the usual `--loss`; `needs` are
    the special tokens of its documents, and the padding's; `whole` says that it writes whole files
    of the new side."""

    render: Callable[[Triple, Options, str], Iterator[Document]]
    loss: str
    needs: tuple[str, ...] = _REPLIES
    whole: bool = False


RENDERINGS: Mapping[str, Rendering] = MappingProxyType(
    {
        "diff": Rendering(diff.render, "patch"),
        "flow": Rendering(flow.render, "patch"),
        "plan": Rendering(flow.render_plan, "patch"),
        "blocks": Rendering(blocks.render, "patch"),
        "files": Rendering(whole.render, "patch", whole=True),
        "fim-file": Rendering(fim.render_file, "all", _HOLES, whole=True),
        "fim-repo": Rendering(fim.render_repository, "all", _HOLES, whole=True),
        "snapshot": Rendering(snapshot.render, "all", whole=True),
    }
)
