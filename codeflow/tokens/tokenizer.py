"""Byte-level BPE: training it, and encoding with it at the speed of the disk.

The text is cut by the pattern that Qwen2's tokenizer uses (numbers digit by digit, line ends with
what precedes them, so that a token boundary stands at nearly every line end), which gigatoken
knows by heart. Nothing is normalised: decoding gives back every byte.

Training is done by `tokenizers` (about 1 MB/s a core). Encoding is done by gigatoken where it is
installed, loads the tokenizer and agrees with `tokenizers` on a sample, at 25-70 MB/s a core;
otherwise by `tokenizers`, 0.4-2 MB/s. The ids are the same.

Ordinary text never becomes a special token: in the copy of the tokenizer that encodes text, every
special token is spelled with a secret, so the spelling in a text means nothing.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Collection, Iterable, Sequence
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from codeflow.config import read_text
from codeflow.documents.document import NAMED, SPECIAL
from codeflow.errors import UsageError
from codeflow.tokens.config import LEAST_VOCABULARY

Ids = npt.NDArray[np.uint32]

_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_UNKNOWN, _CHANGED = 0.01, 0.02  # at most: of tokens, and of texts
_BETTER = "give a byte-level tokenizer, or leave it out to have one trained"
_RELOAD_BYTES = 256 << 20  # gigatoken remembers every word it saw; this bounds its memory
_HARD_TEXTS = (
    "",
    " ",
    "\n\n  \n\tif x:\r\n\r\n",
    "don't DON'T 12345 1.5e-3 \u0661\u0662\u0663",
    "na\u00efve cafe\u0301 \u4f60\u597d\u3002 \U0001f469\u200d\U0001f4bb \u00a0\u2028\ufeff",
    "\u0300-\u036f\u00b7\u0483-\u0487\u0591-\u05bd\u0610-\u061a\u064b-\u065f\u093a\u0941-\u0948",
    "\x00\x01\x7f\ufffd",
    *NAMED,
    "".join(NAMED),
    " <|endoftext|>\n<|im_end|>x <| im_end |><think>\n</think></ think>",
)


def require_tokenizers() -> None:
    """Raises UsageError where the extra that brings `tokenizers` is not installed."""
    if find_spec("tokenizers") is None:
        raise UsageError("this needs tokenizers: pip install 'codeflow-kit[train]'")


def train(texts: Iterable[str], vocab_size: int) -> str:
    """Trains a tokenizer with the special tokens and markers of `codeflow.documents.document`.

    The same texts in the same order give the same bytes.

    Args:
        vocab_size: tokens wanted, special ones included; little text gives fewer.

    Returns:
        The content of a `tokenizer.json`.

    Raises:
        UsageError: there is no room for all bytes and the special tokens.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    if vocab_size < LEAST_VOCABULARY:
        raise UsageError(f"vocabulary of {vocab_size}: give {LEAST_VOCABULARY} or more")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(NAMED),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    values = json.loads(tokenizer.to_str())
    for token in values["added_tokens"]:
        token["special"] = token["content"] in SPECIAL
    return json.dumps(values, ensure_ascii=False, indent=2) + "\n"


class Encoder:
    """Text to ids and back.

    Attributes:
        text: the `tokenizer.json`.
        hash: 16 hex characters that identify it, whatever its white space.
        vocab_size: one more than the greatest id.
        special: id by special token or marker, of those that it has.
        newlines: (vocab_size,) line ends in each token.
        ends_line: (vocab_size,) whether each token ends with one.
        starts_text: (vocab_size,) whether each token starts with the first byte of a character.
        slow_because: why gigatoken is not used; None when it is.
    """

    def __init__(
        self,
        text: str,
        sample: Sequence[str] = (),
        *,
        fast: bool = True,
        where: object = "it",
        needs: Collection[str] = SPECIAL,
    ) -> None:
        """
        Args:
            sample: texts that it has to give back, and on which gigatoken has to agree with
                `tokenizers`, beside built-in ones.
            fast: whether to try gigatoken.
            where: names the tokenizer in messages.
            needs: of `NAMED`, what it has to have for what is done with it.

        Raises:
            UsageError: no tokenizer, one without what is needed, or one that does not know the
                sample or changes it.
        """
        from tokenizers import Tokenizer

        try:
            values = json.loads(text)
            self._full = Tokenizer.from_str(text)
            added = {token["content"]: int(token["id"]) for token in values["added_tokens"]}
        except Exception as error:
            # `tokenizers` raises plain Exception
            raise UsageError(f"{where}: not a tokenizer.json: {error}") from None
        missing = [name for name in NAMED if name in needs and name not in added]
        if missing:
            what = "special tokens" if set(missing) & set(SPECIAL) else "tokens"
            raise UsageError(f"{where}: lacks the {what} {', '.join(missing)}; add them")
        self.text = text
        self.hash = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
        self.special = {name: added[name] for name in NAMED if name in added}
        vocab = self._full.get_vocab(with_added_tokens=True)
        self.vocab_size = max(vocab.values()) + 1
        self.newlines: npt.NDArray[np.int32] = np.zeros(self.vocab_size, np.int32)
        self.ends_line: npt.NDArray[np.bool_] = np.zeros(self.vocab_size, np.bool_)
        self.starts_text: npt.NDArray[np.bool_] = np.zeros(self.vocab_size, np.bool_)
        for token in vocab.values():
            decoded = self.decode([token])
            self.newlines[token] = decoded.count("\n")
            self.ends_line[token] = decoded.endswith("\n")
            self.starts_text[token] = not decoded.startswith("\ufffd")
        self._plain_text = _without_special(values)
        self._plain = Tokenizer.from_str(self._plain_text)
        self._quick: Any = None
        self._since_load = 0
        self.slow_because: str | None = "not asked for"
        self._where = where
        self._check(sample)
        if fast:
            self.slow_because = self._try_gigatoken([*_HARD_TEXTS, *sample])

    @classmethod
    def open(
        cls,
        path: Path,
        sample: Sequence[str] = (),
        *,
        fast: bool = True,
        needs: Collection[str] = SPECIAL,
    ) -> Encoder:
        """Reads a `tokenizer.json`. Raises UsageError when there is none, or it does not do."""
        text = read_text(path, "tokenizer.json")
        return cls(text, sample, fast=fast, where=path, needs=needs)

    def encode(self, texts: Sequence[str]) -> list[Ids]:
        """The ids of each text; never a special token's."""
        if self._quick is None:
            try:
                encoded = self._plain.encode_batch_fast(list(texts), add_special_tokens=False)
            except Exception as error:  # of a word that it does not know, and has no token for
                raise UsageError(
                    f"{self._where}: cannot encode a text: {error}; {_BETTER}"
                ) from None
            return [np.array(encoding.ids, np.uint32) for encoding in encoded]
        self._since_load += sum(map(len, texts))
        if self._since_load > _RELOAD_BYTES:
            self._load_gigatoken()
        if len(texts) < 8:  # an array of arrays costs more than it saves
            return [self._quick.encode(text) for text in texts]
        layout = self._quick.encode_batch(list(texts), parallel=False).layout
        content: Ids = np.asarray(layout.content.data, np.uint32)
        offsets = np.asarray(layout.offsets.data).tolist()
        return [content[a:b] for a, b in pairwise(offsets)]

    def decode(self, ids: Sequence[int] | Ids) -> str:
        """The text of ids, special tokens by their names."""
        plain = ids.tolist() if isinstance(ids, np.ndarray) else list(ids)
        return str(self._full.decode(plain, skip_special_tokens=False))

    def _check(self, sample: Sequence[str]) -> None:
        """That it knows the texts, and gives them back: patches must apply to what is decoded.

        A few may come back otherwise: a tokenizer may normalise what is written in two ways.
        """
        encoded = self.encode(sample)
        where, model = self._where, json.loads(self.text)["model"]
        name, token = model.get("unk_token"), model.get("unk_id")  # one or the other, by its kind
        token = token if name is None else self._full.token_to_id(name)
        total = sum(map(len, encoded))
        missed = sum(int((ids == token).sum()) for ids in encoded if token is not None)
        if missed > _UNKNOWN * total:
            raise UsageError(
                f"{where}: does not know {missed / total:.0%} of the tokens in a sample of the "
                f"dataset; {_BETTER}"
            )
        changed = sum(self.decode(ids) != text for ids, text in zip(encoded, sample, strict=True))
        if changed > _CHANGED * len(sample):
            raise UsageError(
                f"{where}: gives {changed} of {len(sample)} texts of the dataset back changed, as "
                f"one that drops spaces, case or line ends does; {_BETTER}"
            )

    def _load_gigatoken(self) -> None:
        import gigatoken

        self._quick = gigatoken.Tokenizer.from_json(self._plain_text)
        self._since_load = 0

    def _try_gigatoken(self, sample: Sequence[str]) -> str | None:
        """Takes gigatoken up; the reason if that cannot be done."""
        expected = self.encode(sample)
        try:
            self._load_gigatoken()
            found = [*self.encode(sample)]
            single = [self._quick.encode(text) for text in sample[:64]]
        except ImportError:
            return "gigatoken is not installed (pip install 'codeflow-kit[fast]')"
        except BaseException as error:
            # a panic of its Rust side is a BaseException
            self._quick = None
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
            return f"gigatoken does not support this tokenizer: {error}"
        pairs = [*zip(expected, found, strict=True), *zip(expected, single, strict=False)]
        if all(np.array_equal(a, b) for a, b in pairs):
            return None
        self._quick = None
        return "gigatoken gives other ids than tokenizers on the sample"


def _without_special(values: dict[str, Any]) -> str:
    """The tokenizer with its special tokens and our markers spelled as nobody can know.

    Their ids stay taken, so all others stay where they are; tokens that were added but are not
    special (runs of blanks in some tokenizers) go on being found in text.
    """
    plain = json.loads(json.dumps(values))
    secret = secrets.token_hex(16)
    names: dict[str, str] = {}
    for number, token in enumerate(plain["added_tokens"]):
        if token.get("special") or token["content"] in NAMED:
            names[token["content"]] = f"{secret}-{number}"
            token["content"] = names[token["content"]]
    vocab = plain["model"].get("vocab")
    if isinstance(vocab, dict):
        plain["model"]["vocab"] = {names.get(key, key): id for key, id in vocab.items()}
    if (unknown := plain["model"].get("unk_token")) in names:  # else what is unknown would vanish
        plain["model"]["unk_token"] = names[unknown]
    plain.update(post_processor=None, truncation=None, padding=None)
    return json.dumps(plain)
