"""Renderings: how a triple becomes training documents, one module each.

A rendering is a function of a triple, the options and a key; all its randomness comes from the
key, which holds the seed, the triple's id and the number of the copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import NamedTuple

from codeflow.documents.document import Document
from codeflow.documents.options import Options
from codeflow.documents.triples import blocks, diff, fim, snapshot
from codeflow.documents.triples import files as whole
from codeflow.triple import Triple


class Rendering(NamedTuple):
    """`render(triple, options, key)` yields documents; `loss` is the usual `--loss`."""

    render: Callable[[Triple, Options, str], Iterator[Document]]
    loss: str


RENDERINGS: Mapping[str, Rendering] = MappingProxyType(
    {
        "diff": Rendering(diff.render, "patch"),
        "blocks": Rendering(blocks.render, "patch"),
        "files": Rendering(whole.render, "patch"),
        "fim-file": Rendering(fim.render_file, "all"),
        "fim-repo": Rendering(fim.render_repository, "all"),
        "snapshot": Rendering(snapshot.render, "all"),
    }
)
