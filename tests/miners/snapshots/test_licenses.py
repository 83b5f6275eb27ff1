"""Licence texts: real ones, dressed as projects dress them, and ones changed in meaning."""

from __future__ import annotations

import random
import re
import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from identify.vendor.licenses import LICENSES

from codeflow_miners.snapshots import licenses
from codeflow_miners.snapshots.licenses import license_files, license_of_text

TEXTS = dict(LICENSES)
COMMONS_CLAUSE = """
"Commons Clause" License Condition v1.0

The Software is provided to you by the Licensor under the License, as defined below, subject to
the following condition. Without limiting other conditions in the License, the grant of rights
under the License will not include, and the License does not grant to you, the right to Sell the
Software.
"""
ADVERTISING = """
3. All advertising materials mentioning features or use of this software must display the
following acknowledgement: This product includes software developed by the organization.
"""


def filled(identifier: str, year: str = "2014-2019", holder: str = "Ann Author") -> bytes:
    """The text as a project publishes it, placeholders filled in."""
    text = TEXTS[identifier]
    for mark, value in (("year", year), ("fullname", holder)):
        text = text.replace(f"[{mark}]", value).replace(f"<{mark}>", value)
    return text.encode()


def license_of_tree(files: dict[str, bytes]) -> str | None:
    found = licenses.license_of_tree(files)
    return None if found is None else found.expression


@pytest.mark.parametrize("identifier", TEXTS)
def test_every_known_text_is_itself(identifier: str) -> None:
    assert license_of_text(TEXTS[identifier].encode()) == identifier
    if identifier != "PostgreSQL":  # names its holder five times in 150 words
        assert license_of_text(filled(identifier)) == identifier


@pytest.mark.parametrize("identifier", ["MIT", "BSD-3-Clause", "Apache-2.0", "GPL-2.0", "MPL-2.0"])
def test_dress_does_not_matter(identifier: str) -> None:
    text = filled(identifier).decode()
    for dressed in (
        text.replace("\n", "\r\n"),
        "\ufeff" + text,
        text.upper(),
        textwrap.indent(text, "    "),
        text.replace("\n\n", "\n\n\n") + "\n\n",
        "Copyright (c) 2001 Bob Builder and others. All rights reserved.\n\n" + text,
        " ".join(text.split("\n\n")[0].split()) + "\n\n" + text.partition("\n\n")[2],
    ):
        assert license_of_text(dressed.encode()) == identifier


def test_common_variants() -> None:
    mit, bsd, apache = (filled(i).decode() for i in ("MIT", "BSD-3-Clause", "Apache-2.0"))
    body = mit.partition("\n\n")[2]
    assert license_of_text(("The MIT License (MIT)\n\n" + body).encode()) == "MIT"
    assert license_of_text(body.encode()) == "MIT"
    assert license_of_text(("MIT License\n\n©2020 Zoë\n" + body).encode("latin-1")) == "MIT"
    named = bsd.replace("the copyright holder nor", "Foo Project nor")
    assert named != bsd
    assert license_of_text(named.encode()) == "BSD-3-Clause"
    terms = apache.partition("APPENDIX")[0]
    assert terms != apache
    assert license_of_text(terms.encode()) == "Apache-2.0"


@pytest.mark.parametrize("identifier", ["MIT", "BSD-3-Clause", "Apache-2.0", "GPL-3.0", "AGPL-3.0"])
@pytest.mark.parametrize(
    "addition",
    [
        COMMONS_CLAUSE,
        ADVERTISING,
        "\nThe Software shall be used for Good, not Evil.\n",
        "\nThis software may not be used for commercial purposes.\n",
        "\nFor non-commercial use only.\n",
    ],
)
def test_an_added_condition_makes_it_unsure(identifier: str, addition: str) -> None:
    text = filled(identifier).decode()
    middle = text.index("\n\n", len(text) // 2)
    assert license_of_text((text + addition).encode()) is None
    assert license_of_text((addition + text).encode()) is None
    # the SPDX list has a licence of its own for two of them
    inside = license_of_text((text[:middle] + "\n" + addition + text[middle:]).encode())
    assert inside in {None, "JSON", "BSD-4-Clause"}


def test_a_changed_meaning_makes_it_unsure() -> None:
    mit = filled("MIT").decode()
    assert license_of_text(filled("MIT", holder="Ann. Non-commercial use only.")) is None
    changed = mit.replace("is hereby granted", "is not hereby granted")
    assert changed != mit
    assert license_of_text(changed.encode()) is None
    without = mit.replace(mit[mit.index("The above") : mit.index("THE SOFTWARE IS")], "")
    assert license_of_text(without.encode()) is None  # MIT-0, which is not among the texts
    reworded = re.sub(r"(?i)\b(?:the|software)\b", "banana", mit)  # too many, each harmless
    assert license_of_text(reworded.encode()) is None
    halves = filled("MIT") + b"\n\n" + filled("Apache-2.0")
    assert license_of_text(halves) is None


@pytest.mark.parametrize(
    "text",
    [
        b"", b" \n", b"\0", b"\x7fELF\0\0", b"All rights reserved.", b"See LICENSE.txt",
        b"Copyright (c) 2020 Ann", b"x " * 1_000_000, bytes(range(256)), b"\xff\xfeM\0I\0T\0",
    ],
)  # fmt: skip
def test_no_licence(text: bytes) -> None:
    assert license_of_text(text) is None


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("SPDX-License-Identifier: MIT", "MIT"),
        ("// SPDX-License-Identifier: GPL-2.0-or-later WITH Classpath-exception-2.0\n",
         "GPL-2.0-or-later WITH Classpath-exception-2.0"),
        ("/* SPDX-License-Identifier: (MIT OR Apache-2.0) */", "(MIT OR Apache-2.0)"),
        ("SPDX-License-Identifier: LicenseRef-Mine", "LicenseRef-Mine"),
        ("SPDX-License-Identifier: MIT\nSPDX-License-Identifier: ISC", None),
        ("SPDX-License-Identifier: NOASSERTION", None),
        ("SPDX-License-Identifier: (MIT", None),
        ("SPDX-License-Identifier: MIT or so they say", None),
        ("SPDX-License-Identifier:", None),
        ("Put `SPDX-License-Identifier: MIT` into each file", None),
    ],
)  # fmt: skip
def test_tags(text: str, expression: str | None) -> None:
    assert license_of_text(text.encode()) == expression


def test_license_files() -> None:
    yes = ["COPYING", "COPYING.LESSER", "LICENCE", "LICENSE", "LICENSE-APACHE", "LICENSE-MIT",
           "LICENSE-junit.txt", "LICENSE.APACHE", "LICENSE.md", "LICENSE.txt", "License.rst",
           "MIT-LICENSE", "MIT-LICENSE.txt", "UNLICENSE", "copying.txt", "license"]  # fmt: skip
    no = ["README", "LICENSE.py", "license.go", "licenses.json", "LICENSING", "COPYRIGHT",
          "relicense.md", "copying_files.c", "license_header.tmpl", "", "NOTICE"]  # fmt: skip
    names = yes + no
    random.Random(0).shuffle(names)
    assert license_files(names) == sorted(yes)


def test_trees() -> None:
    mit, apache, bsd = filled("MIT"), filled("Apache-2.0"), filled("BSD-3-Clause")
    lgpl, gpl, free = filled("LGPL-3.0"), filled("GPL-3.0"), filled("Unlicense")
    pointer = b"This project is dual-licensed under the Unlicense and MIT licenses."
    assert license_of_tree({}) is None
    assert license_of_tree({"README": mit}) is None
    assert license_of_tree({"LICENSE": mit, "README": b"x"}) == "MIT"
    assert license_of_tree({"LICENSE": mit, "COPYING": mit}) == "MIT"
    assert license_of_tree({"LICENSE-MIT": mit, "LICENSE-APACHE": apache}) == "Apache-2.0 OR MIT"
    assert license_of_tree({"LICENSE.APACHE2": apache, "LICENSE.BSD": bsd}) == (
        "Apache-2.0 OR BSD-3-Clause"
    )
    assert (
        license_of_tree({"COPYING": pointer, "LICENSE-MIT": mit, "UNLICENSE": free})
        == "MIT OR Unlicense"
    )
    assert license_of_tree({"COPYING": gpl, "COPYING.LESSER": lgpl}) == "LGPL-3.0"
    assert license_of_tree({"LICENSE": mit, "LICENSE-APACHE": apache}) is None
    assert license_of_tree({"LICENSE": mit, "LICENSE-docs": apache}) is None
    assert license_of_tree({"LICENSE": mit, "LICENSE-third-party": b"all sorts"}) == "MIT"
    assert license_of_tree({"LICENSE": mit, "LICENSE-other": b"all sorts"}) is None
    assert license_of_tree({"COPYING": pointer}) is None


@given(st.binary())
def test_never_raises_on_bytes(text: bytes) -> None:
    license_of_text(text)
    license_of_tree({"LICENSE": text, "COPYING": b"SPDX-License-Identifier: " + text})


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(["MIT", "BSD-3-Clause", "ISC", "Apache-2.0"]), st.integers(0, 1 << 30))
def test_scrambled_words_are_no_licence(identifier: str, seed: int) -> None:
    words = TEXTS[identifier].split()
    random.Random(seed).shuffle(words)
    assert license_of_text(" ".join(words).encode()) is None


@given(st.text())
def test_never_raises_on_names(name: str) -> None:
    assert license_files([name]) in ([], [name])
    license_of_tree({name: TEXTS["MIT"].encode()})


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "unit", [b" ", b"\n", b"(c) ", b"# ", b"licence ", b"a.", b"SPDX-", b"*/ "]
)
def test_hostile_repetition_takes_linear_time(unit: bytes) -> None:
    license_of_text(unit * (130_000 // len(unit)))
    license_of_text(b"SPDX-License-Identifier: " + unit * (130_000 // len(unit)))
    license_files(["LICENSE" + unit.decode() * 1000, "LICENSE" + "-a" * 2000 + "!"])
