"""The parser of the command line: a wrong word costs one line, and that line says what was meant.

Options are never abbreviated: what a shortened name means would change with the next option. A
misspelt option is named before anything is said of one that is missing, because it is mostly why
that one is missing.
"""

from __future__ import annotations

import argparse
import difflib
import itertools
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from codeflow.errors import UsageError
from codeflow.storage.store import is_url, shown

_NUMBER = re.compile(r"-\d+|-\d*\.\d+")  # argparse takes these for values


def path(text: str) -> Path:
    """An argument that is a path on this machine: the `Path` of a URL would be another name."""
    if is_url(text):
        raise argparse.ArgumentTypeError(f"{shown(text)}: a path on this machine is needed here")
    return Path(text)


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, and the nearest thing that would be right."""

    def __init__(self, **settings: Any) -> None:
        settings.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, **settings)
        self.register("type", Path, path)  # what is a path is no URL
        self._given: list[str] = []

    def parse_known_args(  # type: ignore[override]
        self,
        args: Sequence[str] | None = None,
        namespace: argparse.Namespace | None = None,
    ) -> tuple[argparse.Namespace, list[str]]:
        """Refuses what is unknown here, where it is known which command's option it would be."""
        self._given = list(sys.argv[1:] if args is None else args)
        parsed, rest = super().parse_known_args(self._given, namespace)
        if rest:
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        return parsed, rest

    def error(self, message: str) -> NoReturn:
        unknown = next(self._unknown_options(), None)
        if unknown is not None:
            message = f"no option {unknown}{self._option_meant(unknown)}"
        raise UsageError(f"{message}; see `{self.prog} --help`")

    def _unknown_options(self) -> Iterator[str]:
        """Words that stand where an option would and name none; of a command's, not its words."""
        words: Iterable[str] = itertools.takewhile(lambda word: word != "--", self._given)
        if self._commands:
            words = itertools.takewhile(lambda word: word.startswith("-"), words)
        for word in words:
            name = word.partition("=")[0]
            if not word.startswith("-") or word == "-" or _NUMBER.fullmatch(word):
                continue
            short = name[:2] if not name.startswith("--") else name  # -n5
            if not {name, short} & self._option_string_actions.keys():
                yield name

    @property
    def _commands(self) -> dict[str, argparse.ArgumentParser]:
        found = (a for a in self._actions if isinstance(a, argparse._SubParsersAction))
        return {name: parser for action in found for name, parser in action.choices.items()}

    def _option_meant(self, name: str) -> str:
        known = [option for option in self._option_string_actions if option.startswith("--")]
        near = nearest(name, known) or next((k for k in known if k.startswith(name)), None)
        if near is not None:
            return f"; did you mean {near}?"
        owners = [c for c, p in self._commands.items() if name in p._option_string_actions]
        return f"; it follows its command, as in `{self.prog} {owners[0]} {name}`" if owners else ""

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        choices = action.choices
        if choices is None or value in choices:
            return
        names = [str(choice) for choice in choices]
        near = nearest(str(value), names)
        hint = f"did you mean {near}?" if near else f"choose from {', '.join(names)}"
        raise argparse.ArgumentError(action, f"{value!r} is unknown; {hint}")


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that a misspelt one most likely means, if any is near enough."""
    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower(), by_lower, n=1)
    return by_lower[near[0]] if near else None
