"""What has no place in training data, in documents: secrets, benchmarks, addresses, duplicates.

The judges are those of triples. A secret or a benchmark's text anywhere in a document drops it:
in what is asked, answered, thought, called, and in what tools print. E-mail and IP addresses are
replaced by reserved ones. Exact duplicates are documents of one content, near ones those of which
the token 5-grams are similar; the first of them in the order of the files stays.

Near-duplicates need all documents at once. Their shingles, about as many bytes as the text, lie on
disk; memory is 16 keys of a band for each document.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from codeflow.curation.dedup.config import DedupConfig
from codeflow.documents.chat.conversation import Conversation, Message, ToolCall, as_json
from codeflow.documents.privacy import scrub
from codeflow.documents.source import Source
from codeflow.errors import DataError
from codeflow.text.secrets import find_secrets
from codeflow_filters.decontaminate.decontaminator import Decontaminator
from codeflow_filters.dedup.lines import Bools, find_lines
from codeflow_filters.dedup.links import UnionFind, link_bucket, shared
from codeflow_filters.dedup.shingles import Hashes, Words, make_shingles
from codeflow_filters.dedup.signatures import band_keys, make_signatures

_BATCH_BYTES: Final = 1 << 20


def texts_of(said: Conversation | str) -> Iterator[str]:
    """Everything that a document says, whoever says it."""
    if isinstance(said, str):
        yield said
        return
    for message in said.messages:
        yield message.content
        yield message.reasoning
        for call in message.calls:
            yield call.name
            yield from (v if isinstance(v, str) else as_json(v) for v in call.arguments.values())
    yield from (as_json(tool) for tool in said.tools)


def whole_text(source: Source) -> str:
    """All of it in one, parts on lines of their own."""
    return "\n".join(filter(None, texts_of(source.said)))


class Judge:
    """Refuses documents with a secret or with a benchmark's instance."""

    def __init__(self, benchmarks: Sequence[str]) -> None:
        """Raises UsageError where a file of instances cannot be read."""
        self._benchmarks = Decontaminator(benchmarks) if benchmarks else None

    def __call__(self, source: Source) -> None:
        """Raises DataError with the reason first; never with a secret's value."""
        text = whole_text(source)
        secrets = find_secrets(text.encode())
        if secrets:
            raise DataError(f"secret: {secrets[0].kind}")
        if self._benchmarks is not None:
            found = self._benchmarks.found_in(text, source.name)
            if found is not None:
                raise DataError(f"benchmark: {found}")


def scrubbed(source: Source) -> Source:
    """The document without addresses."""
    said = source.said
    if isinstance(said, str):
        return replace(source, said=scrub(said))
    messages = tuple(map(_scrubbed_message, said.messages))
    tools = tuple(map(_scrubbed, said.tools))
    return replace(source, said=replace(said, messages=messages, tools=tools))


def _scrubbed_message(message: Message) -> Message:
    calls = (ToolCall(call.name, _scrubbed(call.arguments)) for call in message.calls)
    return replace(
        message,
        content=scrub(message.content),
        reasoning=scrub(message.reasoning),
        calls=tuple(calls),
    )


def _scrubbed(value: Any) -> Any:
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, Mapping):
        return {name: _scrubbed(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_scrubbed(item) for item in value]
    return value


class NearDuplicates:
    """Takes documents one by one, in order; says in the end which are like an earlier one."""

    def __init__(self, path: Path, config: DedupConfig | None = None) -> None:
        """`path` is a file to keep shingles in."""
        self._config = config or DedupConfig()
        self._path = path
        self._file = path.open("wb")
        self._texts: list[bytes] = []
        self._held = 0
        self._keys: list[Words] = []
        self._sizes: list[int] = []

    def add(self, text: str) -> None:
        """The next document."""
        # as a patch that adds it, which is what shingles are made of
        data = b"@@\n+" + text.encode().replace(b"\n", b"\n+") + b"\n"
        self._texts.append(data)
        self._held += len(data)
        if self._held > _BATCH_BYTES:
            self._flush()

    def _flush(self) -> None:
        config, texts = self._config, self._texts
        if not texts:
            return
        bounds = np.concatenate(([0], np.cumsum([len(text) for text in texts])))
        lines = find_lines(np.frombuffer(b"".join(texts), np.uint8), bounds)
        found = make_shingles(lines, config.ngram)
        signatures = make_signatures(found, config.permutations)
        seeds = np.zeros(len(texts), np.uint64)
        self._keys.append(band_keys(signatures, config.bands, config.rows, seeds))
        short = found.tokens < config.min_tokens
        self._sizes += np.where(short, 0, np.diff(found.offsets)).tolist()
        for number in np.flatnonzero(~short).tolist():
            self._file.write(found.of(number).tobytes())
        self._texts, self._held = [], 0

    def decide(self) -> Bools:
        """(N,): whether each document is like one before it. Ends the taking."""
        self._flush()
        self._file.close()
        count = len(self._sizes)
        clusters = UnionFind(count)
        if sum(self._sizes):
            hashes = np.memmap(self._path, np.uint32, "r")
            ends = np.cumsum(self._sizes)

            def set_of(number: int) -> Hashes:
                end = int(ends[number])
                return hashes[end - self._sizes[number] : end]

            keys = np.concatenate(self._keys)
            members = np.flatnonzero(np.array(self._sizes))
            for band in range(self._config.bands):
                order, starts = shared(keys[members, band])
                for bucket in np.split(members[order], starts[1:]):
                    link_bucket(
                        bucket.tolist(),
                        self._sizes.__getitem__,
                        set_of,
                        clusters,
                        self._config.threshold,
                    )
        self._path.unlink()
        like: Bools = clusters.roots() != np.arange(count)
        return like
