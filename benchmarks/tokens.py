"""Speed of tokenize + pack on a mined dataset, against the same with `tokenizers` alone.

    python benchmarks/tokens.py DIR [--length 4096] [--render diff] [--triples 400]

One core (the process is bound to it, `tokenizers` to one thread), one process, the same documents
both times, and the same rows, or it stops. Rendering and reading are timed by themselves, so that
what is compared is encoding, fitting and packing. MB are of the UTF-8 text in the rows, so a file
counts each time it is shown. `fresh` leaves the cache of contents out: every context file is
encoded each time it is asked for.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections import Counter
from itertools import islice
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"

from codeflow.dataset import reader as datasets
from codeflow.dataset.order import OrderedTriples
from codeflow.documents.document import END_OF_TEXT, ContextFile, Document
from codeflow.documents.options import Options, rest_weight
from codeflow.documents.triples import RENDERINGS
from codeflow.tokens import fit
from codeflow.tokens.pack import pack
from codeflow.tokens.sample import sample
from codeflow.tokens.stage import render_all
from codeflow.tokens.tokenizer import Encoder, train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("dir", type=Path)
    parser.add_argument("--length", type=int, default=4096)
    parser.add_argument("--render", choices=RENDERINGS, default="diff")
    parser.add_argument("--triples", type=int, default=400)
    parser.add_argument("--vocab", type=int, default=32768)
    parsed = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    dataset = datasets.open(parsed.dir)
    start = time.perf_counter()
    text = train(sample(dataset), parsed.vocab)
    print(f"train the tokenizer          {time.perf_counter() - start:8.2f} s")
    encoders = {"gigatoken": Encoder(text), "tokenizers": Encoder(text, fast=False)}
    if encoders["gigatoken"].slow_because is not None:
        raise SystemExit(encoders["gigatoken"].slow_because)

    options = Options(parsed.length, rest_weight(RENDERINGS[parsed.render].loss))
    with tempfile.TemporaryDirectory() as folder:
        ordered = OrderedTriples(dataset, 0, Path(folder))
        triples = list(islice(ordered.triples("train"), parsed.triples))
    start = time.perf_counter()
    rendered = render_all(triples, parsed.render, options, 0, Counter())
    documents = [_read(document, parsed.length) for document in rendered]
    print(f"render, read the context     {time.perf_counter() - start:8.2f} s")

    rates: dict[tuple[str, str], float] = {}
    rows_of: dict[tuple[str, str], list[bytes]] = {}
    for cache in ("cached", "fresh"):
        for name, encoder in encoders.items():
            fitter = fit.Fitter(encoder, parsed.length, cut=True)
            if cache == "fresh":
                fitter._cached = _uncached(fitter)  # type: ignore[method-assign]
            fresh = [_again(document, context) for document, context in documents]
            start = time.perf_counter()
            rows = list(pack(fitter.encode(fresh), parsed.length, encoder.special[END_OF_TEXT]))
            seconds = time.perf_counter() - start
            size = sum(len(encoder.decode(row.input_ids).encode()) for row in rows)
            rates[name, cache] = size / 1e6 / seconds
            rows_of[name, cache] = [row.input_ids.tobytes() for row in rows]
            print(
                f"tokenize + pack, {cache:6} {name:10} {seconds:6.2f} s {size / 1e6:8.1f} MB "
                f"{rates[name, cache]:7.1f} MB/s"
            )
        assert rows_of["gigatoken", cache] == rows_of["tokenizers", cache]
        ratio = rates["gigatoken", cache] / rates["tokenizers", cache]
        print(f"  {cache}: gigatoken / tokenizers {ratio:.1f}, equal rows")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


def _read(document: Document, length: int) -> tuple[Document, list[ContextFile]]:
    """The document with as much context read as can be needed."""
    held: list[ContextFile] = []
    chars = 0
    for file in document.context:
        text = file.read()
        held.append(file._replace(read=lambda text=text: text))  # type: ignore[misc]
        chars += len(text)
        if chars > 8 * length:
            break
    return document, held


def _again(document: Document, context: list[ContextFile]) -> Document:
    return Document(**{**document.__dict__, "context": iter(context)})


def _uncached(fitter: fit.Fitter):  # type: ignore[no-untyped-def]
    """Encodes whatever it is asked for."""

    def encode(key: str, read):  # type: ignore[no-untyped-def]
        return fitter._encoder.encode([read()])[0]

    return encode


if __name__ == "__main__":
    main()
