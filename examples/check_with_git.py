#!/usr/bin/env python3
"""Checks a dataset against the repository it came from, with git as the only judge.

    check_with_git.py DATASET SOURCE_REPO [--repo NAME]

Nothing of codeflow is imported. pyarrow reads the rows, git does the rest, in an empty scratch
repository with an empty configuration. For every triple of the repository:

1. Stage the old side, file by file, from the rows of `trees` (`git update-index --index-info`; its
   contents were written from the rows of `blobs` before): `git write-tree` must give `old_tree`.
2. `git apply --cached` the patch: `git write-tree` must give `new_tree`.
3. `commits` must be the first-parent chain from old to new in the source repository.
4. `authored_at` and `is_merge` must be what git says of the new commit, and two triples have the
   same `author_id` just where git says that their authors have the same address.
5. Both sides must be the source's: every file has the source's blob id and mode at that path, and
   every path of the source that is left out is a submodule, not UTF-8 (path or content), has a NUL
   byte, is larger than the limit, or has a path that git's own index refuses, of over 4,096 bytes
   or over 128 folders deep. In a dataset without secrets it may also be one that the ledger names,
   by its blob id, as a file that holds a secret.
6. A triple of several commits has a row of `steps` for each of `commits`, in this order: from the
   old side on, the patch of each one (its own, or that of the triple that `same_as` names) must
   give its `tree` by `git apply --cached` and `git write-tree`, be empty where nothing changes, and
   the last tree must be `new_tree`. Each tree must be the source's, as in 5.

To be fast, a directory pair that was compared once is not compared again, and the index is moved
from the tree it holds to the next one by the differing paths only; since git has just computed the
id of the former, and computes the id of the latter, nothing is taken on trust.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow.parquet as pq

ENV = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
ENV |= {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_ATTR_NOSYSTEM": "1"}
ENV |= {"GIT_NO_REPLACE_OBJECTS": "1", "LC_ALL": "C", "GIT_NO_LAZY_FETCH": "1"}
ENV |= {"GIT_GRAFT_FILE": os.devnull}
# Read a repository of another user; do not spend time on packing and syncing the scratch one.
CONFIG = {"safe.directory": "*", "core.compression": "0", "core.fsync": "none"}
# What git refuses on any system, it refuses here: a dataset must not depend on where it was mined.
CONFIG |= {"core.protectHFS": "true", "core.protectNTFS": "true"}
ENV["GIT_CONFIG_COUNT"] = str(len(CONFIG))
for number, (key, value) in enumerate(CONFIG.items()):
    ENV |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}

MAX_PATH_BYTES, MAX_FOLDERS = 4096, 128
LAST_SECOND = 253402300799  # of the year 9999: later dates are stored as this one
COLUMNS = ["id", "kind", "old_commit", "new_commit", "commits", "old_tree", "new_tree"]
COLUMNS += ["patch", "position", "authored_at", "author_id", "is_merge"]
TREES = {}  # the rows of `trees` by id: {name: (mode, id)}; the processes inherit them
STEPS = {}  # the rows of `steps` by triple; None in a dataset of before there were any
PATCHES = {}  # those of triples of kind commit by id


def git(folder, *arguments, stdin=b"", index="index"):
    env = ENV | {"GIT_DIR": str(folder), "GIT_INDEX_FILE": f"{folder}/{index}"}
    done = subprocess.run(["git", *arguments], input=stdin, capture_output=True, env=env)
    if done.returncode:
        raise ValueError(f"git {arguments[0]}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def rows(dataset, table, repo, columns):
    for path in sorted((dataset / table).glob("*.parquet")):
        for batch in pq.ParquetFile(path).iter_batches(128, columns=["repo", *columns]):
            yield from (row for row in batch.to_pylist() if row["repo"] == repo)


def write_blobs(dataset, repo, scratch):
    """Every content into the scratch repository, byte for byte; git says what its id is."""
    command = ["git", "fast-import", "--quiet", "--depth=0", f"--export-marks={scratch}/marks"]
    importer = subprocess.Popen(command, stdin=subprocess.PIPE, env=ENV | {"GIT_DIR": scratch})
    ids = []
    for row in rows(dataset, "blobs", repo, ["id", "content"]):
        content = row["content"].encode()
        ids.append(row["id"])
        importer.stdin.write(b"blob\nmark :%d\ndata %d\n%s\n" % (len(ids), len(content), content))
    importer.stdin.close()
    if importer.wait():
        raise ValueError("git fast-import failed")
    marks = dict(line.split() for line in Path(scratch, "marks").read_text().splitlines())
    return [f"blob {id}: git says {marks[f':{n}']}" for n, id in enumerate(ids, 1)
            if marks[f":{n}"] != id]  # fmt: skip


def difference(old, new, prefix=b""):
    """(path, mode and id or None) of all files that differ between two trees of the dataset."""
    before, after = TREES.get(old, {}), TREES[new] if new else {}
    for name in before.keys() | after.keys():
        a, b = before.get(name), after.get(name)
        if a == b:
            continue
        is_tree = [side is not None and side[0] == "40000" for side in (a, b)]
        if any(is_tree):
            inner = [side[1] if tree else None for side, tree in zip((a, b), is_tree, strict=True)]
            yield from difference(*inner, prefix + name + b"/")
        if b and not is_tree[1]:
            yield prefix + name, b
        elif a and not is_tree[0]:
            yield prefix + name, None


def is_utf8(data):
    try:
        return data.decode() is not None
    except UnicodeDecodeError:
        return False


def author_faults(folder, triples):
    """What `git rev-list` says of the authors and parents of new commits, against the columns."""
    form = "--format=%H%x09%at%x09%P%x09%ae%x09%an"
    words = ["rev-list", "--no-walk=unsorted", "--no-commit-header", form, "--stdin"]
    asked = "".join(row["new_commit"] + "\n" for row in triples).encode()
    lines = git(folder, *words, stdin=asked).decode(errors="surrogateescape").splitlines()
    told = {line.split("\t")[0]: line.split("\t")[1:5] for line in lines if "\t" in line}
    by_id, by_author = {}, {}
    for row in triples:
        name = f"{row['kind']} {row['id']}"
        when, parents, address, author = told[row["new_commit"]]
        if int(row["authored_at"].timestamp()) != min(int(when or 0), LAST_SECOND):
            yield f"{name}: authored at {row['authored_at']}, git says {when}"
        if row["is_merge"] != (" " in parents):
            yield f"{name}: is_merge is {row['is_merge']}, its parents are {parents}"
        if row["author_id"] is not None:
            who = address.lower() or (author,)
            if by_id.setdefault(row["author_id"], who) != who:
                yield f"{name}: author_id {row['author_id']} is of two authors"
            if by_author.setdefault(who, row["author_id"]) != row["author_id"]:
                yield f"{name}: its author has another author_id elsewhere"


class Source:
    """The source repository, read through one `git cat-file --batch`."""

    def __init__(self, folder, scratch, limit, secret):
        self.scratch, self.limit, self.secret = scratch, limit, secret
        env = ENV | {"GIT_DIR": str(folder)}
        self.cat = subprocess.Popen(["git", "cat-file", "--batch"], env=env,
                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
        self.compared, self.refused = set(), {}

    def read(self, id):
        self.cat.stdin.write(id.encode() + b"\n")
        self.cat.stdin.flush()
        head = self.cat.stdout.readline().split()
        if len(head) != 3:
            raise ValueError(f"the source has no object {id}")
        return self.cat.stdout.read(int(head[2]) + 1)[:-1]

    def header(self, commit):
        """The tree and the first parent of a commit."""
        lines = self.read(commit).split(b"\n\n")[0].decode(errors="replace").split("\n")
        parents = [line[7:] for line in lines if line.startswith("parent ")]
        return lines[0][5:], parents[0] if parents else None

    def compare(self, tree, projected, path=b""):
        """Every file of `projected` is in the source's `tree`; what is not may be left out."""
        if (tree, projected) in self.compared or (not projected and not is_utf8(path)):
            return
        kept, raw, place = dict(TREES[projected]) if projected else {}, self.read(tree), 0
        while place < len(raw):
            end = raw.index(b"\0", place)
            mode, name = raw[place:end].split(b" ", 1)
            id, place, kind = raw[end + 1 : end + 21].hex(), end + 21, int(mode, 8) & 0o170000
            entry, here = kept.pop(name, None), path + name
            if kind == 0o040000:
                if entry and entry[0] != "40000":
                    raise ValueError(f"{here!r} is a directory in the source")
                if not entry and self.is_refused(name, b"/x"):
                    continue
                self.compare(id, entry and entry[1], here + b"/")
            elif entry is None:
                self.may_be_left_out(kind, name, id, here)
            else:
                bits = "100755" if int(mode, 8) & 0o100 else "100644"
                if entry != ("120000" if kind == 0o120000 else bits, id):
                    raise ValueError(f"{here!r} is {mode.decode()} {id} in the source, not {entry}")
        if kept:
            raise ValueError(f"{path!r}: the source does not have {sorted(kept)}")
        self.compared.add((tree, projected))

    def may_be_left_out(self, kind, name, id, path):
        staged = "120000" if kind == 0o120000 else "100644"
        # what is no file, symlink or folder is a submodule to git, whatever its mode
        if (
            kind not in (0o100000, 0o120000)
            or id in self.secret
            or self.is_refused(name, b"", staged)
        ):
            return
        if len(path) > MAX_PATH_BYTES or path.count(b"/") > MAX_FOLDERS:
            return
        content = self.read(id)
        text = is_utf8(content) and b"\0" not in content and len(content) <= self.limit
        if text and is_utf8(path):
            raise ValueError(f"{path!r} is left out, but is text of {len(content)} bytes")

    def is_refused(self, name, below=b"", mode="100644"):
        """Whether git's index silently ignores this name, tried out."""
        key = (name, below, mode)
        if key not in self.refused:
            line = b"%s %s\t%s\0" % (mode.encode(), b"1" * 40, name + below)
            index = f"trial-{os.getpid()}"
            git(self.scratch, "update-index", "-z", "--index-info", stdin=line, index=index)
            self.refused[key] = not git(self.scratch, "ls-files", index=index)
            Path(self.scratch, index).unlink(missing_ok=True)
        return self.refused[key]


class Index:
    """An index of the scratch repository, and the tree that git says it holds."""

    def __init__(self, scratch):
        self.scratch, self.name, self.holds = scratch, f"index-{os.getpid()}", None

    def stage(self, tree):
        """Makes it hold a tree of the dataset."""
        if self.holds == tree:
            return
        zero = "0 " + "0" * 40
        changes = list(difference(self.holds, tree))
        lines = [zero.encode() + b"\t" + path for path, new in changes if new is None]
        lines += [" ".join(new).encode() + b"\t" + path for path, new in changes if new]
        stdin, self.holds = b"".join(line + b"\0" for line in lines), None
        git(self.scratch, "update-index", "-z", "--index-info", stdin=stdin, index=self.name)
        if (result := self.written()) != tree:
            raise ValueError(f"the old side is {result}, not {tree}")
        self.holds = tree

    def apply(self, patch, tree):
        """Applies a patch, which must give this tree."""
        self.holds, words = None, ("apply", "--cached", "--whitespace=nowarn")
        git(self.scratch, *words, stdin=patch.encode(), index=self.name)
        if (result := self.written()) != tree:
            raise ValueError(f"the patch gives {result}, not {tree}")
        self.holds = tree

    def written(self):
        return git(self.scratch, "write-tree", index=self.name).decode().strip()

    def clear(self):
        Path(self.scratch, self.name).unlink(missing_ok=True)
        self.holds = None


def check_steps(row, steps, index, source):
    """The steps of a triple, from its old side to its new one."""
    if [step["commit"] for step in steps] != row["commits"]:
        raise ValueError(f"{len(row['commits'])} commits, but {len(steps)} steps, or other ones")
    if steps[-1]["tree"] != row["new_tree"]:
        raise ValueError("the last step does not end where the triple does")
    index.stage(row["old_tree"])
    for step in steps:
        patch = PATCHES[step["same_as"]] if step["patch"] is None else step["patch"]
        if patch or step["tree"] != index.holds:  # git takes no empty patch
            index.apply(patch, step["tree"])
        source.compare(source.header(step["commit"])[0], step["tree"])


def check(job):
    """The faults of some triples, in order of their place in history."""
    triples, folder, scratch, limit, secret = job
    source, faults, index = Source(folder, scratch, limit, secret), [], Index(scratch)
    for row in triples:
        try:
            index.stage(row["old_tree"])
            index.apply(row["patch"], row["new_tree"])
            chain = [row["old_commit"], *row["commits"]]
            for parent, commit in itertools.pairwise(chain):
                if source.header(commit)[1] != parent:
                    raise ValueError(f"the first parent of {commit} is not {parent}")
            if chain[-1] != row["new_commit"] or (row["kind"] == "commit" and len(chain) != 2):
                raise ValueError("`commits` does not fit")
            for side in ("old", "new"):
                source.compare(source.header(row[f"{side}_commit"])[0], row[f"{side}_tree"])
            if STEPS is not None and len(row["commits"]) > 1:
                check_steps(row, STEPS.get(row["id"], []), index, source)
        except (ValueError, KeyError) as fault:
            faults.append(f"{row['kind']} {row['id']}: {fault}")
            index.clear()
    source.cat.kill()
    index.clear()
    return faults


def read_steps(dataset, repo):
    """The rows of `steps` by triple, in order."""
    columns, steps = ["triple", "index", "commit", "tree", "patch", "same_as"], {}
    for row in rows(dataset, "steps", repo, columns):
        steps.setdefault(row["triple"], []).append(row)
    return {triple: sorted(own, key=lambda row: row["index"]) for triple, own in steps.items()}


def main():
    global STEPS
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("source", type=Path)
    parser.add_argument("--repo", help="its name in the dataset, if there are several")
    options = parser.parse_args()
    manifest = json.loads((options.dataset / "manifest.json").read_text())
    _, limit, *without = manifest["projection"].split(":")
    names = [row["repo"] for row in manifest["repositories"]]
    repo = options.repo or names[0]
    if repo not in names or (not options.repo and len(names) > 1):
        sys.exit(f"--repo: choose one of {', '.join(names)}")
    folder = options.source.resolve()
    folder = folder if (folder / "HEAD").exists() else folder / ".git"
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(["git", "init", "-q", "--bare", scratch], env=ENV, check=True)
        faults = write_blobs(options.dataset, repo, scratch)
        for row in rows(options.dataset, "trees", repo, ["id", "entries"]):
            TREES[row["id"]] = {e["name"].encode(): (e["mode"], e["id"]) for e in row["entries"]}
        triples = list(rows(options.dataset, "triples", repo, COLUMNS))
        triples.sort(key=lambda row: (row["kind"], row["position"]))
        STEPS = read_steps(options.dataset, repo) if manifest["schema_version"] > 2 else None
        PATCHES.update((t["id"], t["patch"]) for t in triples if t["kind"] == "commit")
        several = {row["id"] for row in triples if len(row["commits"]) > 1}
        parts = [triples[k : k + 50] for k in range(0, len(triples), 50)]
        secret = set()
        if without == ["no-secrets"]:
            ledger = rows(options.dataset, "ledger", repo, ["rule", "detail"])
            secret = {row["detail"].split(" ")[-1] for row in ledger if row["rule"] == "secret"}
        faults += author_faults(folder, triples)
        strays = sorted((STEPS or {}).keys() - several)
        faults += [f"steps of {id}, which is no triple of several commits" for id in strays]
        jobs = [(part, folder, scratch, int(limit), secret) for part in parts]
        with multiprocessing.get_context("fork").Pool(2) as pool:
            for found in pool.imap(check, jobs):
                faults += found
    for fault in faults:
        print(fault)
    kinds = [row["kind"] for row in triples]
    counts = ", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds)))
    if STEPS:
        print(f"{repo}: {sum(map(len, STEPS.values()))} steps of {len(STEPS)} triples")
    print(f"{repo}: {len(triples)} triples ({counts}), {len(faults)} faults")
    sys.exit(1 if faults or not triples else 0)


if __name__ == "__main__":
    main()
