"""The model card of an exported folder, its README.md: what it is, on what, from what.

A function of the checkpoint's description and the model's shape alone, so that an export of an
export says the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from codeflow.loopcoder.config import ModelConfig
from codeflow.storage.layout import CHAT_TEMPLATE

_LOOP = """\
Its layers run twice: in the second pass a gate per head and token mixes attention over the first
pass's keys and values with a window of {window} tokens over its own. vLLM, SGLang and mlx-lm know
this architecture (`IQuestLoopCoderForCausalLM`); transformers needs the two Python files of an
export with `--remote-code`, and `trust_remote_code=True`."""
_DENSE = """\
It is a Llama, and opens wherever Llama does."""
_USE = """\
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("PATH"{trust})
tokenizer = AutoTokenizer.from_pretrained("PATH"{trust})
```"""


def model_card(
    about: Mapping[str, Any], config: ModelConfig, parameters: int, dtype: str, chat: bool
) -> str:
    """The text.

    Args:
        about: the description of the checkpoint; empty when nothing is known.
        chat: whether a chat template is in the folder.
    """
    loop = config.loop_num == 2
    name = about.get("name") or "a codeflow model"
    lines = [
        "---",
        "library_name: transformers",
        "pipeline_tag: text-generation",
        "tags:",
        "- code",
        f"- {'loopcoder' if loop else 'llama'}",
        "- codeflow",
        "---",
        "",
        f"# {name}",
        "",
        *([str(about["about"]), ""] if about.get("about") else []),
        *(_LOOP.format(window=config.loop_window_size) if loop else _DENSE).split("\n"),
        "",
        *_shape(config, parameters, dtype),
        "",
        *_USE.format(trust=", trust_remote_code=True" if loop else "").split("\n"),
        "",
        f"`{CHAT_TEMPLATE}` says how a conversation is written."
        if chat
        else "It has no chat template.",
        "",
        *_data(about),
        *_recipe(about),
        *_parents(about),
    ]
    return "\n".join(lines).rstrip("\n") + "\n"


def _shape(config: ModelConfig, parameters: int, dtype: str) -> Iterator[str]:
    yield from ("| | |", "|---|---|")
    heads = f"{config.num_attention_heads} / {config.num_key_value_heads} of {config.head_dim}"
    for name, value in (
        ("parameters", f"{parameters:,}"),
        ("stored as", dtype),
        ("layers", f"{config.num_hidden_layers}, {config.loop_num} x"),
        ("hidden size", f"{config.hidden_size:,}"),
        ("heads / key-value heads", heads),
        ("vocabulary", f"{config.vocab_size:,}"),
        ("positions", f"{config.max_position_embeddings:,}"),
    ):
        yield f"| {name} | {value} |"


def _data(about: Mapping[str, Any]) -> Iterator[str]:
    yield from ("## Data", "")
    data: Mapping[str, Mapping[str, Any]] = about.get("data") or {}
    if not data:
        yield from ("Not known.", "")
        return
    shares = about.get("recipe", {}).get("data", {}).get("sources", {})
    total = sum(shares.get(name, 0) for name in data)
    yield from ("| source | rendering | share | rows | dataset |", "|---|---|---|---|---|")
    for name, source in data.items():
        share = f"{shares[name] / total:.1%}" if total and name in shares else "?"
        rows = sum(file[1] for file in source.get("files", ()))
        described = f"{source.get('rendering')} | {share} | {rows:,} | `{source.get('dataset')}`"
        yield f"| {name} | {described} |"
    yield from ("", f"Tokenizer `{about.get('tokenizer')}`, data `{about.get('data_hash')}`.", "")


def _recipe(about: Mapping[str, Any]) -> Iterator[str]:
    if not about.get("recipe"):
        return
    yield from ("## Recipe", "")
    steps, tokens = about.get("step") or 0, about.get("tokens") or 0
    yield f"`{about.get('recipe_hash')}`: {steps:,} steps, {tokens:,} tokens."
    yield from ("", "```json", json.dumps(about["recipe"], indent=1, sort_keys=True), "```", "")


def _parents(about: Mapping[str, Any]) -> Iterator[str]:
    """From the nearest to the first."""
    found: list[Mapping[str, Any]] = []
    while about := about.get("parent") or {}:
        found.append(about)
    if not found:
        return
    yield from ("## Parents", "", "| | steps | tokens | data | recipe |", "|---|---|---|---|---|")
    for parent in found:
        yield f"| {' | '.join(_cells(parent))} |"
    yield ""


def _cells(parent: Mapping[str, Any]) -> Sequence[str]:
    name = parent.get("name") or parent.get("checkpoint") or "?"
    counts = [parent.get(key) for key in ("step", "tokens")]
    return (
        str(name),
        *("?" if count is None else f"{count:,}" for count in counts),
        ", ".join(parent.get("data") or ()) or "?",
        f"`{parent.get('recipe_hash') or '?'}`",
    )
