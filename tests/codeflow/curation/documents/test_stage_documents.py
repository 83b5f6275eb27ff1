"""`codeflow tokenize --from`: from files to rows, and what is dropped on the way."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

import pytest

import codeflow
from codeflow.cli import main
from codeflow.curation.documents.config import DocumentsConfig
from codeflow.curation.documents.stage import TokenizedDocuments, tokenize_documents
from codeflow.errors import UsageError
from codeflow.shards.reader import TokenShards
from codeflow.tokens.tokenizer import Encoder

STRANGE = " ".join(f"strange{k}" for k in range(20))
WORDS = [f"{a}{b}" for a in ("re", "un", "pre", "dis") for b in ("load", "pack", "view", "set")]


def words(seed: int, count: int) -> str:
    random = Random(seed)
    return " ".join(random.choice(WORDS) for _ in range(count))


def talk(seed: int, turns: int = 2, **more: Any) -> dict[str, Any]:
    messages = []
    for k in range(turns):
        messages.append({"role": "user", "content": words(100 * seed + k, 30)})
        reply = (
            f"<think>\n{words(-100 * seed - k, 10)}\n</think>\n\n{words(7000 + 100 * seed + k, 20)}"
        )
        messages.append({"role": "assistant", "content": reply})
    return {"messages": messages, **more}


def lines(path: Path, values: Iterable[Any]) -> Path:
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return path


def made(
    folder: Path, *sources: Path, kind: str = "chat", length: int = 256, **more: Any
) -> TokenizedDocuments:
    known = {"vocab_size": 300, "name": kind, **more}
    return tokenize_documents(
        folder, DocumentsConfig(tuple(map(str, sources)), kind, length, **known)
    )


def documents(done: TokenizedDocuments, split: str = "train") -> list[tuple[str, str, str | None]]:
    """(what is shown, what of it is trained, origin) of every document of a split."""
    if not done.rows[split]:
        return []
    encoder = Encoder.open(done.folder / "tokenizer.json", fast=False)
    found = []
    for row in TokenShards(done.folder, split):
        start = 0
        for length, id, origin in zip(row.doc_lengths, row.triple_ids, row.origins, strict=True):
            ids = row.input_ids[start : start + length]
            weights = row.token_weights[start : start + length]
            start += length
            if id:
                found.append((encoder.decode(ids), encoder.decode(ids[weights > 0]), origin))
    return found


def digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


def test_conversations_become_rows(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", (talk(k, source="forum", language="en") for k in range(40)))
    done = made(tmp_path / "out", path)
    assert done.documents == {"whole": 40}
    assert done.dropped == {}
    found = [*documents(done), *documents(done, "validation")]
    assert len(found) == 40
    replies = {
        "".join(f"{m['content']}<|im_end|>" for m in talk(k)["messages"][1::2]) for k in range(40)
    }
    assert {trained for _, trained, _ in found} == replies
    assert {origin for _, _, origin in found} == {"forum"}
    row = TokenShards(done.folder)[0]
    assert set(row.kinds) - {"padding"} == {"chat"}
    assert set(row.languages) - {None} == {"en"}
    assert 0.2 < done.trained["forum"] < 0.8
    assert done.rows["validation"], "one of forty at least"
    names = {p.name for p in done.folder.iterdir()}
    assert names == {
        "tokens.json", "tokenizer.json", "chat_template.jinja", "train-00000.arrow",
        "validation-00000.arrow",
    }  # fmt: skip


def test_the_same_again_is_left_alone_and_gives_the_same_bytes(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", (talk(k) for k in range(20)))
    done = made(tmp_path / "out", path)
    before = digests(done.folder)
    stamp = (done.folder / "tokens.json").stat().st_mtime_ns
    assert made(tmp_path / "out", path)._replace(slow_because=done.slow_because) == done
    assert (done.folder / "tokens.json").stat().st_mtime_ns == stamp
    assert digests(made(tmp_path / "other", path).folder) == before
    lines(path, (talk(k) for k in range(21)))
    again = made(tmp_path / "out", path)
    assert digests(again.folder) != before
    before = digests(again.folder)
    rest = digests(made(tmp_path / "out", path, loss="0.5").folder)
    assert rest["train-00000.arrow"] != before["train-00000.arrow"]
    assert made(tmp_path / "out", path, history="strip").documents["whole"] == 42


def test_what_a_killed_process_left_is_no_hindrance(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", (talk(k) for k in range(5)))
    part = tmp_path / "out" / "tokens" / ".chat.tmp"
    part.mkdir(parents=True)
    (part / "spool").write_bytes(b"half")
    done = made(tmp_path / "out", path)
    assert digests(done.folder) == digests(made(tmp_path / "other", path).folder)
    assert not part.exists()


def test_history_strip_makes_a_document_a_turn(tmp_path: Path) -> None:
    said = talk(1, turns=3)
    path = lines(tmp_path / "a.jsonl", [said])
    done = made(tmp_path / "out", path, history="strip", validation=0.0, length=512)
    replies = [m["content"] for m in said["messages"][1::2]]
    found = {trained: shown for shown, trained, _ in documents(done)}
    assert found.keys() == {f"{reply}<|im_end|>" for reply in replies}
    last = found[f"{replies[2]}<|im_end|>"]
    assert last.count("<think>") == 1
    for reply in replies[:2]:
        assert reply not in last
        assert reply.partition("</think>\n\n")[2] in last


def test_duplicates_and_what_nobody_may_train_on(tmp_path: Path) -> None:
    base = words(5, 60)
    secret = "AKIA" + "Q7ZP3MX2LWKD9RTV"  # of the form of a key, and nobody's
    instance = {
        "instance_id": "own__repo-12", "problem_statement": STRANGE,
        "repo": "own/repo", "base_commit": "a" * 40,
    }  # fmt: skip
    benchmark = lines(tmp_path / "bench.jsonl", [instance])

    def text(content: str, reply: str = "fine", **more: Any) -> dict[str, Any]:
        talk = [{"role": "user", "content": content}, {"role": "assistant", "content": reply}]
        return {"messages": talk, **more}

    call = {"name": "run", "arguments": {"cmd": f"export K={secret}"}}
    rows = [
        text(base),
        text(base, source="elsewhere"),
        text(f"{base} tail"),
        text(words(6, 60), f"mail ann.lee@corp.io from 8.8.8.8 or {words(7, 9)}"),
        {"messages": [*text("go")["messages"][:1],
                      {"role": "assistant", "content": "", "tool_calls": [{"function": call}]}]},
        {"messages": [*text("look")["messages"][:1],
                      {"role": "assistant", "content": "", "tool_calls": [{"name": "l"}]},
                      {"role": "tool", "content": f"so: {STRANGE}"}]},
        text("see own__repo-12.traj", "no"),
        text("innocent", instance_id="own__repo-12"),
        text(words(9, 40), instance_id="own__repo-13"),
    ]  # fmt: skip
    done = made(
        tmp_path / "out", lines(tmp_path / "a.jsonl", rows), validation=0.0,
        decontaminate=(str(benchmark),),
    )  # fmt: skip
    counts = {reason: dropped.documents for reason, dropped in done.dropped.items()}
    assert counts == {"duplicate": 1, "near-duplicate": 1, "secret": 1, "benchmark": 3}
    assert done.dropped["secret"].example == f"{tmp_path}/a.jsonl:5: AWS Access Key"
    assert secret not in json.dumps(done.dropped)
    shown = "".join(text for text, _, _ in documents(done))
    assert "user@example.com" in shown
    assert "ann.lee" not in shown
    assert "8.8.8.8" not in shown
    everything = made(tmp_path / "out", tmp_path / "a.jsonl", validation=0.0, near=False)
    assert {r: d.documents for r, d in everything.dropped.items()} == {"duplicate": 1, "secret": 1}


def test_values_within_values_without_end_are_dropped(tmp_path: Path) -> None:
    deep: Any = "x"
    for _ in range(700):
        deep = [deep]
    calls = [{"name": "f", "arguments": {"a": deep}}]
    call = {"role": "assistant", "content": "", "tool_calls": calls}
    path = lines(tmp_path / "a.jsonl", [{"messages": [talk(1)["messages"][0], call]}, talk(2)])
    done = made(tmp_path / "out", path, validation=0.0)
    dropped = {reason: dropped.documents for reason, dropped in done.dropped.items()}
    assert dropped in ({}, {"too-deep": 1})  # how deep is too deep depends on Python
    assert done.documents["whole"] == 2 - len(dropped)


def test_all_about_one_task_is_in_one_split(tmp_path: Path) -> None:
    rows = [talk(k, instance_id=f"a__b-{k % 10}") for k in range(60)]
    done = made(tmp_path / "out", lines(tmp_path / "a.jsonl", rows), validation=0.3)
    task = {talk(k)["messages"][0]["content"]: k % 10 for k in range(60)}

    def tasks(split: str) -> set[int]:
        return {n for shown, _, _ in documents(done, split) for t, n in task.items() if t in shown}

    assert tasks("train") | tasks("validation") == set(range(10))
    assert not tasks("train") & tasks("validation")


@pytest.mark.parametrize(
    ("rows", "more", "message"),
    [
        (
            [{"messages": []}, 3],
            {},
            "nothing to tokenize: 1 no-messages .*a.jsonl:1: .*; 1 no-obj",
        ),
        (
            [{"question": "a", "answer": words(1, 3000)}],
            {"kind": "qa", "length": 16384},
            r"99.\d% of its tokens are",
        ),
        ([talk(1)], {"length": 64, "long": "drop"}, "no document fits 64 tokens"),
        ([talk(1)], {"schema": "sharegpt"}, "nothing to tokenize: 1 columns"),
    ],
)
def test_a_source_that_is_no_good_is_an_error(
    tmp_path: Path, rows: list[Any], more: dict[str, Any], message: str
) -> None:
    path = lines(tmp_path / "a.jsonl", rows)
    with pytest.raises(UsageError, match=message):
        made(tmp_path / "out", path, **{"validation": 0.0, "length": 1024, **more})
    assert not list((tmp_path / "out" / "tokens").glob("*chat*/*"))


def test_a_mask_of_nearly_all_may_be_meant(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", [{"question": "a", "answer": words(1, 200)}])
    done = made(tmp_path / "out", path, kind="qa", loss="all", validation=0.0, length=2048)
    assert done.trained[""] > 0.98


def test_texts_are_cut_and_all_trained(tmp_path: Path) -> None:
    rows = [{"text": "\n".join(words(100 * k + j, 8) for j in range(30))} for k in range(12)]
    path = lines(tmp_path / "a.jsonl", rows)
    done = made(tmp_path / "out", path, kind="text", validation=0.0)
    assert done.documents == {"cut": 12}
    shown = "".join(text for text, _, _ in documents(done))
    assert sorted(shown) == sorted("".join(f"{row['text']}<|endoftext|>" for row in rows))


def test_windows_train_every_turn(tmp_path: Path) -> None:
    said = talk(3, turns=8)
    path = lines(tmp_path / "a.jsonl", [said])
    done = made(tmp_path / "out", path, long="windows", validation=0.0, length=512)
    assert done.documents == {"windows": 1}
    told = "".join(trained for _, trained, _ in documents(done))
    for message in said["messages"][1::2]:
        assert told.count(message["content"]) == 1
    cut = made(tmp_path / "out", path, validation=0.0, length=512)
    [(shown, _, _)] = documents(cut)
    assert shown.startswith(f"<|im_start|>user\n{said['messages'][0]['content']}<|im_end|>")
    assert shown.endswith("<|im_end|>\n")


def test_the_command_says_what_became_of_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = lines(tmp_path / "a.jsonl", [*(talk(k) for k in range(20)), 7, {"messages": [{}]}])
    argv = ["tokenize", str(tmp_path / "out"), "--from", str(path), "--as", "chat"]
    options = ["--length", "256", "--vocab", "300"]
    assert main([*argv, *options, "--dry-run"]) == 0
    assert "would read 1 files as chat" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()
    assert main([*argv, *options]) == 0
    out = capsys.readouterr().out
    assert "20 whole" in out
    assert f"dropped: 1 no-object, as {path}:21: a JSON int, not an object" in out
    assert f"dropped: 1 role, as {path}:22: message 0 is of 'None'" in out
    done = codeflow.tokenize(tmp_path / "out", length=256, sources=path, kind="chat")
    assert isinstance(done, TokenizedDocuments)
    assert done.folder == tmp_path / "out" / "tokens" / "chat-256"
    assert main([*argv, "--length", "256", "--calls", "hermes", "--name", "h"]) == 0
    assert "tool_call.name" in (tmp_path / "out/tokens/h/chat_template.jinja").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "give --render for triples, or --from with --as"),
        ("--as chat", "--as: is of documents; name them with --from"),
        ("--render diff --schema x", "--schema: is of documents"),
        ("--render diff --long windows", "is of conversations"),
        ("--from {}", "say what the documents are, as --as chat"),
        ("--from {} --as chat --render diff", "are of triples"),
        ("--from {} --as chat --columns question", "write it as question=input"),
        ("--from {} --as text --loss reply", "a text has no replies"),
        ("--from {} --as text --long windows", "a text has no turns"),
        ("--from {} --as text --history strip", "a text has no turns"),
        ("--from {} --as chat --loss x", "loss 'x'"),
        ("--from {} --as chat --schema x", "--schema x: choose of"),
        ("--from {} --as chat --length 3", "tokens.length = 3"),
        ("--from none.jsonl --as chat", "none.jsonl: no such file"),
        ("--from {} --as chat --decontaminate none.jsonl", "none.jsonl"),
    ],
)
def test_wrong_words_cost_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str, message: str
) -> None:
    path = lines(tmp_path / "a.jsonl", [talk(1)])
    argv = ["tokenize", str(tmp_path / "out"), *words.format(path).split()]
    assert main(argv) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert message in line
