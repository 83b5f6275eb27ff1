"""How a runner says what came of each test: a line each, to a pipe, with a number used once.

The request comes on standard input, which is read to its end and closed, so that neither the words
of the command nor its environment hold what a solution could use.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys


class Report:
    """The way out of the sandbox."""

    def __init__(self):
        self._fd = os.open(os.environ.pop("CODEFLOW_RESULTS"), os.O_WRONLY)
        os.set_inheritable(self._fd, False)
        with open(0, closefd=False) as stream:
            self.request = json.load(stream)
        self._nonce = self.request.pop("nonce")
        self._count = 0
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)

    def say(self, kind, **values):
        """One line; the pipe takes up to 4096 bytes of it at once, whoever else writes."""
        self._count += 1
        line = json.dumps([self._nonce, self._count, kind, values]) + "\n"
        data = line.encode()
        while data:
            data = data[os.write(self._fd, data) :]

    def end(self, status):
        """The last line; ends the process whatever else still runs in it."""
        self.say("end", status=status)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(status)


def settle(request):
    """Makes the project and its packages importable, here and in processes that tests start."""
    paths = [*request["roots"], *request["site"]]
    sys.path[1:1] = request["site"]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    os.environ["PATH"] = os.pathsep.join([*request["programs"], os.environ["PATH"]])
    import site

    site.setquit()
    site.setcopyright()
    site.sethelper()


def describe(request):
    """Puts what an installed project would have beside it where `importlib.metadata` looks."""
    if request["metadata"]:
        for path, text in request["metadata"].items():
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as stream:
                stream.write(text)


def shuffled(names, seed):
    """Names in the order of a run: 0 as they are, else by a hash of seed and name."""
    if not seed:
        return list(names)
    import hashlib

    return sorted(names, key=lambda n: hashlib.sha256(f"{seed}:{n}".encode()).digest())
