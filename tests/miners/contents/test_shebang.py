"""First lines of scripts, with what env(1), linguist and the tools' manuals say they run."""

# ruff: noqa: E501  (lists of first lines)
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeflow_miners.contents.languages import Languages
from codeflow_miners.contents.shebang import language_of_script

LINES = {
    "Python": """/usr/bin/python3|/usr/bin/env python3.12|/usr/bin/env -S uv run
/usr/bin/env -S uv run --script|/usr/bin/env -S uv run --with rich python|/usr/bin/pypy3
/usr/bin/env pypy3.10|/usr/bin/env -S python3 -u|/usr/bin/env -Spython3 -u|/usr/bin/env -vS python
/usr/bin/env --split-string=python3 -u|/usr/bin/env -i PATH=/bin python|/usr/bin/env -u HOME python
/usr/bin/env -S PYTHONPATH="a b" python3|/usr/bin/env -- python|/usr/bin/python2.7-dbg
/usr/bin/nice -n 10 /usr/bin/python3|/usr/bin/env -S poetry run python|/opt/x/bin/micropython
/usr/bin/env -S pipx run|/usr/bin/env -S sudo -E python3|/usr/bin/env -S time python3
/usr/bin/env -S PYTHONUNBUFFERED=1 python3 -m a|C:/Python/python.exe""",
    "R": "/usr/bin/Rscript|/usr/bin/env Rscript --vanilla|/usr/bin/env -S Rscript -e|/usr/bin/r",
    "TypeScript": """/usr/bin/env -S deno run --allow-net|/usr/bin/env bun|/usr/bin/env tsx
/usr/bin/env ts-node|/usr/bin/env -S npx tsx|/usr/bin/env -S npx -p typescript ts-node
/usr/bin/env -S pnpm exec tsx|/usr/bin/env -S bunx tsx""",
    "JavaScript": """/usr/bin/nodejs|/usr/bin/env node18|/usr/bin/env zx|/usr/bin/gjs
/usr/bin/osascript -l JavaScript|/usr/bin/env -S node --no-warnings|/usr/bin/env -S npx zx
/usr/bin/env -S NODE_OPTIONS='--import tsx' node|/usr/bin/env NODE_ENV=production node""",
    "PHP": "/usr/bin/php8.2|/usr/bin/env -S php -d memory_limit=-1|/usr/local/bin/php -q",
    "Ruby": "/usr/bin/ruby3.1|/usr/bin/env jruby|/usr/bin/env -S bundle exec ruby|/usr/bin/env rake",
    "Lua": "/usr/bin/lua5.4|/usr/bin/env luajit|/usr/bin/env texlua|/usr/bin/luajit-2.1.0",
    "AppleScript": "/usr/bin/osascript|/usr/bin/env osascript",
    "PowerShell": "/usr/bin/env pwsh|/usr/bin/pwsh -NoProfile|/opt/microsoft/powershell/7/pwsh",
    "Shell": """/bin/sh|/bin/busybox sh|/usr/bin/env busybox ash|/usr/bin/env -S bash -eu
/usr/bin/bash5.2|/sbin/openrc-run|/usr/bin/env nix-shell|/usr/bin/with-contenv bash
/usr/bin/nix-shell -p hello""",
    "Zsh": "/bin/zsh -f|/usr/bin/env zsh", "Bats": "/usr/bin/env bats",
    "Ksh": "/bin/ksh93|/usr/bin/env mksh",
    "Awk": "/usr/bin/awk -f|/usr/bin/env -S gawk -f|/bin/busybox awk -f|/usr/bin/mawk",
    "Tcl": "/usr/bin/tclsh8.6|/usr/bin/env expect|/usr/bin/expect -f|/usr/bin/wish",
    "Perl": "/usr/bin/perl -w|/usr/bin/env perl5.36.0|/usr/bin/env -S perl -T",
    "Raku": "/usr/bin/env raku|/usr/bin/perl6", "Makefile": "/usr/bin/make -f",
    "Haskell": "/usr/bin/env stack|/usr/bin/env runhaskell|/usr/bin/env -S cabal run",
    "Scheme": "/usr/bin/guile -s|/usr/bin/env guile-3.0|/usr/bin/env -S csi -s",
    "Common Lisp": "/usr/bin/sbcl --script|/usr/bin/env ros", "Clojure": "/usr/bin/env bb",
    "Rust": "/usr/bin/env rust-script|/usr/bin/env -S cargo +nightly -Zscript",
    "Go": "/usr/bin/env -S go run", "Java": "/usr/bin/java --source 21", "Swift": "/usr/bin/swift",
    "F#": "/usr/bin/env -S dotnet fsi", "C#": "/usr/bin/env dotnet|/usr/bin/env dotnet-script",
    "Emacs Lisp": "/usr/bin/emacs --script|/usr/bin/env -S emacs -Q --script", "sed": "/bin/sed -f",
    "Groovy": "/usr/bin/env groovy", "Kotlin": "/usr/bin/env kscript", "Elixir": "/usr/bin/env elixir",
    "Erlang": "/usr/bin/env escript", "Julia": "/usr/bin/env -S julia --project",
    "fish": "/usr/bin/env fish", "Nushell": "/usr/bin/env nu", "Tcsh": "/bin/csh -f",
    "jq": "/usr/bin/jq -f", "Gnuplot": "/usr/bin/gnuplot", "Prolog": "/usr/bin/env swipl",
}  # fmt: skip
CASES = [
    (line, language)
    for language, lines in LINES.items()
    for line in lines.replace("\n", "|").split("|")
]


@pytest.mark.parametrize(("line", "language"), CASES)
@pytest.mark.parametrize("form", ["#!{}\n", "#! {}\r\nmore\r\n", "\ufeff#!{}\n", "#!\t{} "])
def test_the_interpreter_is_found(form: str, line: str, language: str) -> None:
    assert Languages().language("bin/run", form.format(line).encode()) == language


NIX = "#!/usr/bin/env nix-shell\n#! nix-shell -i {} -p something\n"
POLYGLOTS = [
    (NIX.format("python3"), "Python"),
    (NIX.format("runghc"), "Haskell"),
    ("#! /usr/bin/nix-shell -i bash -p jq\n", "Shell"),
    ("#!/usr/bin/env nix-shell\n#!nix-shell -p perl\n#!nix-shell -i perl\n", "Perl"),
    ("#!/usr/bin/env nix\n#! nix shell nixpkgs#php --command php\n", "PHP"),
    ('#!/bin/sh\n# the next line restarts using tclsh \\\nexec tclsh "$0" "$@"\n', "Tcl"),
    ('#!/bin/sh\n\'\'\'exec\' python3 -u "$0" "$@"\n\' \'\'\'\n', "Python"),
    ("#!/bin/sh\n':' //; exec node --harmony \"$0\" \"$@\"\n", "JavaScript"),
    ('#!/bin/sh\nexec scala "$0" "$@"\n!#\n', "Scala"),
    ("#!/bin/sh\nexec /usr/bin/env ruby -x \"$0\" \"$@\"\n", "Ruby"),
    ('#!/bin/sh\nset -e\nexec bash "$0" "$@"\n', "Shell"),
    ('#!/bin/sh\nexec python "$(dirname "$0")/main.py" "$@"\n', "Shell"),  # a wrapper in Shell
    ("#!/bin/sh\nexec python main.py\n", "Shell"),
    ('#!/bin/sh\nexec sudo "$0" "$@"\n', "Shell"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "language"), POLYGLOTS)
def test_scripts_of_two_lines(text: str, language: str) -> None:
    assert language_of_script(text.encode()) == language


@pytest.mark.parametrize("line", ["#!", "#!/usr/bin/env", "#!/usr/bin/env -S", "#! ", "#!/opt/x/y1",
                                  "#!/usr/bin/env -u X", "#!'unended", "python3", "#/bin/sh"])  # fmt: skip
def test_what_names_no_interpreter(line: str) -> None:
    assert language_of_script(line.encode()) is None


@given(st.binary() | st.text().map(lambda text: b"#!" + text.encode()))
def test_any_bytes_are_taken(head: bytes) -> None:
    language_of_script(head)
