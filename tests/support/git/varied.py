"""A list of small repositories that between them have what can make two runs differ.

Forks that share a root and divide its steps, merges, renames, binaries, links, modes, files that
come back, runs of commits that make spans, a missing repository, and a line that stands twice.
"""

from __future__ import annotations

import random
from pathlib import Path

from gitdag import Content, Exec, Path_, Repo, Symlink

COMMITS = 48
FORKED_AT = 34


def varied(folder: Path, reverse: bool = False) -> Path:
    """Builds the repositories below `folder`; returns the list, in one of two orders."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "alpha").exists():
        _build(folder / "alpha", "alpha", COMMITS, packed=True)
        _build(folder / "beta", "alpha", COMMITS + 6)
        _build(folder / "gamma", "gamma", COMMITS)
        _build(folder / "young", "young", 5)
    lines = ["alpha", "missing", "beta", "gamma", "young"]
    listing = folder / ("reversed.txt" if reverse else "list.txt")
    listing.write_text("".join(f"{line}\n" for line in (lines[::-1] if reverse else lines)))
    return listing


def _build(path: Path, seed: str, commits: int, packed: bool = False) -> Repo:
    """A history of features (runs of steps on files of their own), merges and noise.

    Two of one seed are forks: they share their first steps.
    """
    rng = random.Random(seed)
    repo = Repo.create(path)
    base: dict[Path_, Content | None] = {f"src/m{k}.py": _code(rng, f"base{k}") for k in range(12)}
    base |= {"LICENSE": "MIT License\n", "logo.png": b"\x89PNG\0\1", "link": Symlink("src/m1.py")}
    repo.commit(base, message=f"Start {seed}", parents=[])
    for n in range(1, commits):
        if n == FORKED_AT:
            rng = random.Random(f"{seed} {path.name}")
        feature = n // 4
        name = f"feature{feature}"
        changes: dict[Path_, Content | None] = {
            f"src/{name}.py": _code(rng, name),
            f"tests/test_{name}.py": _code(rng, name),
        }
        if n % 4 == 3:
            changes = {f"src/m{rng.randrange(12)}.py": _code(rng, f"noise{n}")}
        if n % 9 == 4:
            changes |= {"logo.png": b"\x89PNG\0" + bytes([n]), "run.sh": Exec(f"echo {n}\n")}
        if n % 11 == 5 and repo.tip:
            old = f"docs/page{n}.md"
            text = "\n".join(f"line {k} of page {n}" for k in range(30))
            changes |= {old: text, f"docs/page{n - 11}.md": None, f"docs/moved{n}.md": text}
        parents = None
        if n % 7 == 6 and repo.tip:
            side = repo.commit({f"side{n}.py": "x = 1\n"}, message=f"Side {n}", branch=None)
            changes[f"side{n}.py"] = "x = 1\n"
            parents = [repo.tip, side]
        repo.commit(changes, message=f"Work on {name}", parents=parents)
    if packed:
        repo.pack()
    return repo


def _code(rng: random.Random, name: str) -> str:
    lines = [f"def {name}_{k}(value):\n    return value + {rng.randrange(99)}\n" for k in range(9)]
    return "\n".join(lines)
