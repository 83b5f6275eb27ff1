"""Renderings by name: ours, a plug-in's, and one's own.

A rendering of one's own is a function of a triple, the options and a key, that yields documents, or
simply pieces of text, a sequence a document:

    def story(triple, options, key):
        yield [
            Piece(triple.messages[0][0] + "\\n", options.rest),
            Piece(triple.patch, 1.0),
            Piece("<|im_end|>", 1.0, special=True),
        ]

named as `file.py:story` or `module:story`, or by a package's entry point in `codeflow.renderings`
that names a dict of such functions. All its randomness has to come from the key. An attribute
`loss` of the function is the usual `--loss` (`patch`), `needs` the special tokens of its pieces.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from codeflow.documents.document import END_OF_TEXT, NAMED, Document, Piece
from codeflow.documents.options import LOSSES, Options, is_loss
from codeflow.documents.triples import RENDERINGS, Rendering
from codeflow.errors import CodeflowError, UsageError
from codeflow.plugins.entry_points import installed
from codeflow.plugins.fingerprint import source_digest
from codeflow.plugins.own_code import attribute_of, first_line, module_at
from codeflow.triple import Triple

GROUP: Final = "codeflow.renderings"


@dataclass(frozen=True)
class Named:
    """A rendering that is ready to run.

    `identity` is what tells one that is not ours from another of its name; ours have none, since
    the version of codeflow says what they are.
    """

    name: str
    rendering: Rendering
    identity: Mapping[str, str]


def rendering_of(spec: str) -> Named:
    """The rendering of a name, `module:attr` or `file.py:attr`.

    Raises:
        UsageError: there is none, or it is no function.
    """
    if spec in RENDERINGS:
        return Named(spec, RENDERINGS[spec], {})
    if ":" in spec:
        place, _, attribute = spec.rpartition(":")
        module, digest = module_at(place, f"rendering {spec}")
        found = attribute_of(module, attribute)
        if not callable(found):
            near = difflib.get_close_matches(attribute, vars(module), n=1)
            hint = f"did you mean {near[0]!r}?" if near else "name a function that is in it"
            raise UsageError(f"rendering {spec}: {place} has no function {attribute!r}; {hint}")
        return _own(attribute.rpartition(".")[2], found, digest)
    if spec.endswith(".py"):
        raise UsageError(f"rendering {spec}: name the function in it, as in {spec}:my_rendering")
    found = installed(GROUP, "rendering")
    for name in found.keys() & RENDERINGS.keys():
        raise UsageError(f"a plug-in has a rendering {name!r}, as codeflow has; uninstall it")
    if spec not in found:
        known = (*RENDERINGS, *sorted(found))
        raise UsageError(f"tokens.renderings = {spec!r}: choose of {', '.join(known)}")
    module, _ = module_at(found[spec].__module__, f"rendering {spec}")
    return _own(spec, found[spec], source_digest(module))


def _own(name: str, function: Callable[..., Any], digest: str) -> Named:
    loss = getattr(function, "loss", "patch")
    needs = tuple(getattr(function, "needs", ()))
    if not is_loss(loss):
        raise UsageError(f"rendering {name}: loss {loss!r}: give {LOSSES}")
    for token in needs:
        _require_named(name, token)

    def render(triple: Triple, options: Options, key: str) -> Iterator[Document]:
        try:
            for made in function(triple, options, key):
                yield _document(name, triple, made)
        except CodeflowError:
            raise
        except Exception as error:  # somebody else's code: anything may come
            raise UsageError(
                f"rendering {name}: triple {triple.id[:12]}: {first_line(error)}"
            ) from error

    return Named(name, Rendering(render, loss, (END_OF_TEXT, *needs)), {"source": digest})


def _document(name: str, triple: Triple, made: Document | Sequence[Piece]) -> Document:
    if not isinstance(made, Document):
        pieces = tuple(Piece(*piece) for piece in made)
        kind, language = triple.kind, triple.language
        made = Document(triple.id, language, kind, (), iter(()), 0.0, pieces)
    for piece in (*made.head, *made.written):
        if piece.special:
            _require_named(name, piece.text)
    return made


def _require_named(name: str, token: str) -> None:
    if token not in NAMED:
        raise UsageError(
            f"rendering {name}: {token!r} is no special token; known: {', '.join(NAMED)}"
        )
