"""Token shards from Python: what `codeflow tokenize` does."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from codeflow.api.choices import PathLike
from codeflow.api.display import displayed
from codeflow.curation.documents.config import DocumentsConfig
from codeflow.curation.documents.stage import TokenizedDocuments, tokenize_documents
from codeflow.errors import UsageError
from codeflow.execution.progress import Progress
from codeflow.storage.store import is_url
from codeflow.tokens.config import TokenizeConfig
from codeflow.tokens.stage import Tokenized
from codeflow.tokens.stage import tokenize as tokenize_folder


def tokenize(
    folder: PathLike,
    render: str | None = None,
    length: int | None = None,
    *,
    sources: PathLike | Sequence[PathLike] | None = None,
    kind: str | None = None,
    schema: str | None = None,
    columns: Mapping[str, str] | Sequence[str] | None = None,
    history: str | None = None,
    calls: str | None = None,
    near: str | None = None,
    decontaminate: Sequence[PathLike] | None = None,
    name: str | None = None,
    tokenizer: PathLike | None = None,
    vocab: int | None = None,
    loss: str | None = None,
    long: str | None = None,
    validation: float | None = None,
    seed: int | None = None,
    progress: Progress | bool | None = None,
) -> Tokenized | TokenizedDocuments:
    """Packs triples, or documents of others, into rows of tokens, in `folder/tokens/NAME`.

    Asked for the same again, the folder is left as it is. Needs the extra `train`. What is not
    given is the default of `codeflow.tokens.config.TokenizeConfig`, or for documents of
    `codeflow.curation.documents.config.DocumentsConfig`.

    Args:
        folder: a dataset folder, or a URL of fsspec: then the tokens are in its local copy. With
            `sources` any folder.
        render: of triples, `diff`, `blocks`, `files`, `fim-file`, `fim-repo` or `snapshot`.
        length: tokens of a row, 4096 by default.
        sources: documents instead of triples: files, folders and URLs; the command line's `--from`.
        kind: of documents, `text`, `qa`, `chat` or `trajectory`; the command line's `--as`.
        schema: of documents, by name; by their columns by default.
        columns: of documents, their columns by ours, as a mapping or as `OURS=THEIRS`.
        history: of conversations, whether earlier turns `keep` their reasoning or, a document a
            turn, are stripped of it (`strip`).
        calls: how tool calls are written, `qwen3_coder` or `hermes`.
        near: whether near-duplicates of documents are dropped, `on` or `off`.
        decontaminate: files of benchmarks' instances that no document may hold.
        name: of the folder, `RENDER-LENGTH` or `KIND-LENGTH` by default.
        tokenizer: a `tokenizer.json`; by default that of the folder, which is trained where there
            is none.
        vocab: tokens of a tokenizer that is trained, 32768 by default.
        loss: where the loss is: `patch` (of documents `reply`), `all`, or the weight of the rest;
            the rendering's own by default.
        long: what to do with a document of more than `length` tokens: `drop` it or `cut` it, or
            for conversations `windows`.
        validation: the latest share of every repository to hold out; of documents any share.
        seed: of the choice of copies and cut points; documents have none.
        progress: as of `codeflow.mine`.

    Returns:
        rows, tokens and fill by split, what became of the documents, and the folder.

    Raises:
        UsageError: something above is wrong, or the extra `train` is missing.
        DataError: no dataset, a damaged one, or no room to write.
    """
    of_documents: dict[str, Any] = {
        "kind": kind,
        "schema": schema,
        "columns": columns,
        "history": history,
        "calls": calls,
        "near": near,
        "decontaminate": decontaminate,
    }
    given: dict[str, Any] = {
        "length": length,
        "name": name,
        "tokenizer": tokenizer,
        "loss": loss,
        "long": long,
        "validation": validation,
        "seed": seed,
    }
    if sources is not None:
        config = documents_of(sources, render=render, vocab=vocab, **of_documents, **given)
        return tokenize_sources(folder, config, progress)
    refuse_of_documents(render, long, **of_documents)
    [done] = tokenize_all(folder, config_of(render, vocab_size=vocab, **given), progress)
    return done


def config_of(render: str | None, **given: Any) -> TokenizeConfig:
    """One folder's configuration; None is what is not given, and so at its default."""
    if render is None:
        raise UsageError("tokenize: give --render for triples, or --from with --as for documents")
    return TokenizeConfig(renderings=(render,), **_known(given))


def documents_of(
    sources: PathLike | Sequence[PathLike],
    *,
    render: str | None = None,
    seed: int | None = None,
    kind: str | None = None,
    columns: Mapping[str, str] | Sequence[str] | None = None,
    near: str | None = None,
    decontaminate: Sequence[PathLike] | None = None,
    vocab: int | None = None,
    tokenizer: PathLike | None = None,
    **given: Any,
) -> DocumentsConfig:
    """The configuration of a folder of documents. Raises UsageError."""
    if render is not None or seed is not None:
        raise UsageError("tokenize --from: --render and --seed are of triples; leave them out")
    if kind is None:
        raise UsageError("tokenize --from: say what the documents are, as --as chat")
    if near not in (None, "on", "off"):
        raise UsageError(f"--near {near}: choose on or off")
    places = [sources] if isinstance(sources, (str, os.PathLike)) else sources
    known = _known({**given, "vocab_size": vocab})
    known.setdefault("length", TokenizeConfig.length)
    if tokenizer is not None:
        known["tokenizer"] = os.fspath(tokenizer)
    return DocumentsConfig(
        tuple(os.fspath(place) for place in places),
        kind,
        columns=_columns(columns or {}),
        near=near != "off",
        decontaminate=tuple(os.fspath(file) for file in decontaminate or ()),
        **known,
    )


def _columns(given: Mapping[str, str] | Sequence[str]) -> dict[str, str]:
    if isinstance(given, Mapping):
        return dict(given)
    found: dict[str, str] = {}
    for pair in (pair for word in given for pair in word.split(",")):
        ours, equals, theirs = pair.partition("=")
        if not equals or not ours or not theirs:
            raise UsageError(f"--columns {pair}: write it as question=input")
        found[ours] = theirs
    return found


def refuse_of_documents(render: str | None, long: str | None, **given: Any) -> None:
    """Raises UsageError where triples are given what only documents have."""
    for name, value in given.items():
        if value is not None:
            option = "as" if name == "kind" else name
            raise UsageError(f"tokenize --{option}: is of documents; name them with --from")
    if long == "windows":
        raise UsageError("tokenize --long windows: is of conversations; choose cut or drop")


def _known(given: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in given.items() if value is not None}


def tokenize_sources(
    folder: PathLike, config: DocumentsConfig, progress: Progress | bool | None
) -> TokenizedDocuments:
    """Writes the token folder of documents."""
    if is_url(os.fspath(folder)):
        raise UsageError(f"{folder}: documents are packed into a folder here; give a path")
    with displayed(progress) as display:
        return tokenize_documents(Path(folder), config, progress=display)


def tokenize_all(
    folder: PathLike, config: TokenizeConfig, progress: Progress | bool | None
) -> Iterator[Tokenized]:
    """Writes the token folders that a configuration asks for, one at a time."""
    place = folder if isinstance(folder, str) else Path(folder)
    for rendering in config.renderings:
        with displayed(progress) as display:
            yield from tokenize_folder(
                place, replace(config, renderings=(rendering,)), progress=display
            )
