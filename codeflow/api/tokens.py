"""Token shards from Python: what `codeflow tokenize` does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from codeflow.api.choices import PathLike
from codeflow.api.display import displayed
from codeflow.execution.progress import Progress
from codeflow.tokens.config import TokenizeConfig
from codeflow.tokens.stage import Tokenized
from codeflow.tokens.stage import tokenize as tokenize_folder


def tokenize(
    folder: PathLike,
    render: str,
    length: int,
    *,
    name: str | None = None,
    tokenizer: PathLike | None = None,
    vocab: int | None = None,
    loss: str | None = None,
    long: str | None = None,
    validation: float | None = None,
    seed: int | None = None,
    progress: Progress | bool | None = None,
) -> Tokenized:
    """Renders triples as training documents and packs them into rows, in `folder/tokens/NAME`.

    Asked for the same again, the folder is left as it is. Needs the extra `train`. What is not
    given is the default of `codeflow.tokens.config.TokenizeConfig`.

    Args:
        folder: a dataset folder, or a URL of fsspec: then the tokens are in its local copy.
        render: `diff`, `blocks`, `files`, `fim-file`, `fim-repo` or `snapshot`.
        length: tokens of a row.
        name: of the folder, `RENDER-LENGTH` by default.
        tokenizer: a `tokenizer.json`; by default that of the folder, which is trained where there
            is none.
        vocab: tokens of a tokenizer that is trained, 32768 by default.
        loss: where the loss is: `patch`, `all`, or the weight of what is not the patch; the
            rendering's own by default.
        long: what to do with a document of more than `length` tokens: `drop` it or `cut` it.
        validation: the latest share of every repository to hold out.
        seed: of the choice of copies and cut points.
        progress: as of `codeflow.mine`.

    Returns:
        rows, tokens and fill by split, what became of the documents, and the folder.

    Raises:
        UsageError: something above is wrong, or the extra `train` is missing.
        DataError: no dataset, a damaged one, or no room to write.
    """
    config = config_of(
        render,
        length,
        name=name,
        tokenizer=tokenizer,
        vocab_size=vocab,
        loss=loss,
        long=long,
        validation=validation,
        seed=seed,
    )
    [done] = tokenize_all(folder, config, progress)
    return done


def config_of(render: str, length: int, **given: Any) -> TokenizeConfig:
    """One folder's configuration; None is what is not given, and so at its default."""
    known = {key: value for key, value in given.items() if value is not None}
    return TokenizeConfig(renderings=(render,), length=length, **known)


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
