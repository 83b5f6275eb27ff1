"""Token shards from Python: what `codeflow tokenize` does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from codeflow.api.choices import PathLike
from codeflow.api.display import displayed
from codeflow.errors import UsageError
from codeflow.execution.progress import Progress

if TYPE_CHECKING:
    from codeflow.tokens.config import TokensConfig
    from codeflow.tokens.stage import Tokenized


def tokenize(
    folder: PathLike,
    render: str,
    length: int,
    *,
    name: str | None = None,
    tokenizer: PathLike | None = None,
    vocab: int | None = None,
    loss: str | None = None,
    long: str = "drop",
    validation: float = 0.05,
    seed: int = 0,
    progress: Progress | bool | None = None,
) -> Tokenized:
    """Renders triples as training documents and packs them into rows, in `folder/tokens/NAME`.

    Asked for the same again, the folder is left as it is. Needs the extra `train`.

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
    stage = tokens_stage()
    with displayed(progress) as display:
        return stage(
            folder if isinstance(folder, str) else Path(folder),
            name or f"{render}-{length}",
            render,
            length,
            tokenizer=None if tokenizer is None else Path(tokenizer),
            vocab_size=vocab,
            loss=loss,
            long=long,
            validation=validation,
            seed=seed,
            progress=display,
        )


def tokenize_all(
    folder: Path, config: TokensConfig, progress: Progress | bool | None
) -> Iterator[Tokenized]:
    """Writes the token folders that `[tokens]` asks for, one at a time."""
    for rendering in config.renderings:
        yield tokenize(
            folder,
            rendering,
            config.length,
            vocab=config.vocab_size,
            seed=config.seed,
            progress=progress,
        )


def tokens_stage() -> Callable[..., Tokenized]:
    """The stage. Raises UsageError where what it needs is not installed."""
    try:
        from codeflow.tokens.stage import tokenize
    except ModuleNotFoundError as error:
        raise UsageError(f"{error}; pip install 'codeflow-kit[train]'") from None
    return tokenize
