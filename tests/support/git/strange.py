"""Edits as strange as Git allows, drawn at random: one after the other they make a history.

`branched` makes one of merges: branches from anywhere, merged into anything, by anyone.
"""

from __future__ import annotations

import random
from pathlib import Path

from edits import Files
from gitdag import Content, Entry, Path_, Repo

NAMES = [b"a", b"A", b"a b", b"d/a", b"d /b", b"d/e/f.py", b'q"', b"t\tb", b"n\nl", b"b\\s"]
NAMES += ["é".encode()]
TEXTS = [b"", b"x", b"one\ntwo\n", b"cr\r\nlf\r\n", b"lone\rcr", b"\xc3\xa9\xe6\x97\xa5\n" * 30]


def edit(draw: random.Random, files: Files, number: int) -> None:
    path = draw.choice(sorted(files))
    mode, content = files[path]
    ring = draw.sample(sorted(files), min(3, len(files)))
    kind = draw.randrange(9)
    if kind == 0 and len(files) > 4:
        del files[path]
    elif kind == 1:
        files[draw.choice(NAMES)] = files.pop(path)
    elif kind == 2:
        values = [files[p] for p in ring]
        files.update(zip(ring, values[1:] + values[:1], strict=True))
    elif kind == 3:
        other = "120000" if mode == "100644" else "100755" if mode == "120000" else "100644"
        files[path] = (other, content or b"target")
    elif kind == 4:
        files[path + b"/in"] = files.pop(path)
    elif kind == 5:
        files[path] = ("100644", draw.choice([b"\0binary", b"\xe9 latin\n", b"text again\n"]))
    elif kind == 6 and mode != "120000":
        files[b"copy %d" % number] = (mode, content + b"tail %d" % number)
    else:
        lines = files.get(b"long.c", ("", b"\n"))[1].split(b"\n")
        lines[draw.randrange(len(lines))] = b"int changed_%d;" % number
        files[b"long.c"] = ("100644", b"\n".join(lines))


def branched(folder: Path, seed: int, rounds: int = 45) -> Repo:
    """A first-parent chain with branches of strange edits.

    They fork from the chain, from other branches or from what was merged long ago, may merge the
    chain or each other into themselves, may bring a root of their own, and are merged singly, by
    several, more than once, or never; a merge takes files of all sides and may edit.
    """
    repo = Repo.create(folder / f"branched-{seed}.git")
    draw = random.Random(seed)
    contents: dict[str, Files] = {}
    start: Files = {name: ("100644", draw.choice(TEXTS)) for name in NAMES[:6]}
    start[b"long.c"] = ("100644", b"".join(b"int line_%d;\n" % k for k in range(400)))
    count = 0

    def commit(parents: list[str], files: Files, message: str | None = None) -> str:
        nonlocal count
        count += 1
        for path in sorted(files):
            if any(path.startswith(other + b"/") for other in files):
                del files[path]
        entries: dict[Path_, Content | None] = {p: Entry(*side) for p, side in files.items()}
        made = repo.commit(
            entries, snapshot=True, parents=parents, branch=None, message=message or f"no {count}"
        )
        contents[made] = files
        return made

    def edited(parent: str, times: int = 2) -> str:
        files = dict(contents[parent])
        for _ in range(draw.randrange(times + 1)):
            edit(draw, files, count)
        return commit([parent], files)

    def merged(parents: list[str], message: str | None = None) -> str:
        files = dict(contents[parents[0]])
        for other in parents[1:]:
            for path, side in sorted(contents[other].items()):
                if draw.random() < 0.7:
                    files[path] = side
        if draw.random() < 0.3:
            edit(draw, files, count)
        return commit(parents, files, message)

    chain = [commit([], start)]
    tips: list[str] = []
    for number in range(rounds):
        for _ in range(draw.choice([0, 1, 1, 2])):
            chain.append(edited(chain[-1]))
        kind = draw.random()
        if kind < 0.06:
            tip = commit([], {b"root %d" % number: ("100644", b"r\n")})
        else:
            tip = draw.choice([chain[-1], *draw.choices(chain, k=4), *tips[-2:]])
        for _ in range(draw.choice([1, 2, 2, 3, 5])):
            inner = draw.random()
            if inner < 0.12:
                tip = merged([tip, chain[-1]])
            elif inner < 0.24 and tips:
                tip = merged([tip, draw.choice(tips)])
            elif inner < 0.3:
                side = edited(tip)
                tip = merged([tip, edited(side)] if draw.random() < 0.5 else [edited(tip), side])
            else:
                tip = edited(tip)
        tips.append(tip)
        if draw.random() < 0.85:
            others = [tip] if draw.random() < 0.9 else [tip, draw.choice(tips), draw.choice(chain)]
            words = draw.choice(["Merge branch 'topic'", f"Merge branch '1.{number}'"])
            chain.append(merged([chain[-1], *others], words if number % 5 == 4 else None))
    chain.append(edited(chain[-1]))
    repo.branch("main", chain[-1])
    repo.tip = chain[-1]
    return repo
