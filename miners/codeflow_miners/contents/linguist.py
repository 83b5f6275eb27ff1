"""Which files are vendored or generated, by the rules of GitHub's linguist.

The rules (`vendor.yml` and `generated.rb` of github-linguist, MIT licence) are restated here in
our own form; what they recognise is meant to be the same. Path rules come first because they cost
nothing. Content rules are picked by extension and look at the first lines (at most 8 KiB), the
last two, or the average line length. Extensions are compared without regard to case throughout.

Cost: `is_vendored` looks each folder up once and then takes about 1 µs a path; `is_generated`
takes about 5 µs, 12 for JavaScript, whose rules look at the whole file. Like linguist, lock files
written by people's tools but meant to be read (`go.sum`, `yarn.lock`) are not generated.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final, NamedTuple

_HEAD_BYTES: Final = 8192


def _any(*patterns: str) -> str:
    return "(?:" + "|".join(patterns) + ")"


# Matched against "/" + folder + "/": what lies below one of these is vendored. Unlike linguist's:
# packages called `cache` and `env` are source (okhttp3/internal/cache), `_vendor` is not (pip).
_FOLDERS: Final = re.compile(
    _any(
        r"^/(?:[Dd]ependencies|deps|debian)/",
        "/"
        + _any(
            r"\.cache", "_vendor(?:ed)?", "dist", "node_modules", "bower_components", "testdata",
            "vendors?",
            "[Ee]xtern(?:als?)?", "[Vv]+endor", "bootstrap-datepicker", "ace-builds", "MathJax",
            "admin_media", "env/(?:bin|lib|lib64|include|Scripts)", "Carthage", "Sparkle",
            "puphpet", "xvba_modules",
            r"\.(?:vscode|github|obsidian|teamcity|google_apis)",
            r"\.yarn/(?:releases|plugins|sdks|versions|unplugged)",
            "Godeps/_workspace", "inst/extdata", r"(?:gradle|\.mvn)/wrapper",
            r"docs?/_?(?:build|themes?|templates?|static)", "(?:[Tt]ests?|[Ss]pecs?)/fixtures",
            r"(?:Crashlytics|Fabric)\.framework|BuddyBuildSDK\.framework",
            r"extjs/(?:\.sencha|docs|builds|cmd|examples|locale|packages|plugins|resources|src"
            r"|welcome)",
        )
        + "/",
        r"/(?:Realm|RealmSwift)\.framework",
        "/tiny_mce/(?:langs|plugins|themes|utils)",
        r"/[Cc]ode[Mm]irror/(?:\d+\.\d+/)?(?:lib|mode|theme|addon|keymap|demo)",
        "(?:3rd|[Tt]hird)[-_]?[Pp]arty/",
        r"\.(?:xctemplate|imageset)/",
        r"/[Pp]ackages/.+\.\d+/",
    ),
    re.DOTALL,
)  # fmt: skip

_NAMES: Final = frozenset({
    "configure", "config.guess", "config.sub", "_esy", "run.n", "dotnet-install.ps1",
    "dotnet-install.sh", "fabfile.py", "waf", ".osx", ".gitattributes", ".gitignore", ".gitmodules",
    "gradlew", "gradlew.bat", "mvnw", "mvnw.cmd", "Vagrantfile", "activator", "activator.bat",
    "proguard.pro", "proguard-rules.pro", "Jenkinsfile", ".gitpod.Dockerfile",
})  # fmt: skip
_NAME_STARTS: Final = (
    "aclocal.m4", "libtool.m4", "ltoptions.m4", "ltsugar.m4", "ltversion.m4", "lt~obsolete.m4",
    "cpplint.py", "erlang.mk", ".indent.pro", ".sublime-project", ".sublime-workspace",
    "jquery.fn.gantt.js", "jquery.fancybox.js", "jquery.fancybox.css", "fuelux.js",
    "jquery.dataTables.js", "bootbox.js", "pdf.worker.js", "leaflet.draw-src.js",
    "leaflet.draw.css", "Control.FullScreen.css", "Control.FullScreen.js", "leaflet.spin.js",
    "wicket-leaflet.js", "octicons.css", "sprockets-octicons.scss",
)  # fmt: skip

_STYLES: Final = r"\.(?:css|less|scss|styl)"
# Well-known libraries checked in as they are, by whole path; tried only on what has such an ending.
_WEB_ENDINGS: Final = (
    ".js", ".css", ".less", ".scss", ".sass", ".styl", ".xml", ".txt", ".html", ".properties",
    "js", "css", "less", "scss", "styl",
)  # fmt: skip
_WEB: Final = re.compile(
    _any(
        r"[.-]min\.(?:js|css)",
        "import" + _STYLES,
        r"-vsdoc\.js",
        r"\.intellisense\.js",
        "(?:^|/)"
        + _any(
            r"bootstrap[^/.]*(?:\..*)?\.(?:js|css|less|scss|styl)",
            r"custom\.bootstrap\S*(?:js|css|less|scss|styl)",
            "(?:font-?awesome|foundation|normalize|skeleton|animate|materialize)" + _STYLES,
            r"materialize\.js",
            "(?:font-?awesome|[Bb]ourbon)/.*" + _STYLES,
            r"select2/.*\.(?:css|scss|js)",
            r"bulma\.(?:css|sass|scss)",
            r"(?:jquery|angular|cordova|shBrush|tiny_mce|yui|yahoo-)[^.]*\.js",
            r"jquery-\d\.\d+(?:\.\d+)?\.js",
            r"jquery-ui(?:-\d\.\d+(?:\.\d+)?)?(?:\.\w+)?\.(?:js|css)",
            r"jquery\.(?:ui|effects)\.[^.]*\.(?:js|css)",
            r"jquery\.fileupload(?:-\w+)?\.js",
            r"jquery[^.]*\.(?:validate(?:\.unobtrusive)?|unobtrusive-ajax)\.js",
            r"slick\.\w+.js",
            r"Leaflet\.Coordinates-\d+\.\d+\.\d+\.src\.js",
            r"prototype.*\.js",
            r"(?:effects|controls|dragdrop|dojo|MochiKit|ckeditor|Chart|shCore|shLegacy)\.js",
            r"html5shiv\.js",
            r"mootools[^.]*\d+\.\d+.\d+[^.]*\.js",
            r"fontello.*\.css",
            r"d3(?:\.v\d+)?[^.]*\.js",
            r"react(?:-[^.]*)?\.js",
            r"flow-typed/.*\.js",
            r"modernizr(?:-\d\.\d+(?:\.\d+)?|\.custom\.\d+)\.js",
            r"knockout-(?:\d+\.){3}(?:debug\.)?js",
            r"[Mm]icrosoft(?:[Mm]vc)?(?:[Aa]jax|[Vv]alidation)(?:\.debug)?\.js",
            r"extjs/.*\.(?:js|xml|txt|html|properties)",
            r"cordova-\d\.\d(?:\.\d)?\.js",
            r"foundation(?:\..*)?\.js",
        ),
    )
    + r"\Z",
    re.DOTALL,
)


def is_vendored(path: str) -> bool:
    """Whether a file came from elsewhere: dependencies, bundled libraries, tools' own files."""
    folder, _, name = path.rpartition("/")
    return (
        name in _NAMES
        or path == "rebar"
        or name.startswith(_NAME_STARTS)
        or path.endswith(".d.ts")
        or name.lower() == ".ds_store"
        or _is_vendored_folder(folder)
        or (path.endswith(_WEB_ENDINGS) and _WEB.search(path) is not None)
    )


@lru_cache(maxsize=1 << 16)
def _is_vendored_folder(folder: str) -> bool:
    return bool(folder) and _FOLDERS.search(f"/{folder}/") is not None


_GENERATED_PATH: Final = re.compile(
    _any(
        "(?:^|/)"
        + _any(
            r"\.idea/", "Pods/", "Carthage/Build/", "htmlcov/", r"\.pnp\..*\Z",
            r"bun\.lockb?\Z", r"\.terraform\.lock\.hcl\Z", r"flake\.lock\Z",
            r"MODULE\.bazel\.lock\Z", r"(?:\w+\.)?esy.lock\Z", r"mise(?:\.[^/]+)?\.lock\Z",
            r"\.secrets\.baseline\Z", r"(?:Julia)?Manifest(?:-v\d+\.\d+)?\.toml\Z",
            r"\.sqlx/query-[a-f\d]{64}\.json\Z", r"(?i:gradlew(?:\.bat)?|mvnw(?:\.cmd)?)\Z",
        ),
        "(?:__generated__|node_modules|Godeps)/",
        r"(?:Gopkg|glide|composer|Cargo|deno|poetry|pdm|uv|pixi|Pipfile)\.lock",
        r"Cargo\.toml\.orig|Package\.resolved|npm-shrinkwrap\.json|package-lock\.json",
        r"pnpm-lock\.yaml",
        r"vendor/(?:(?!-)[-0-9A-Za-z]+(?<!-)\.)+(?:com|edu|gov|in|me|net|org|fm|io)",
        r"(?s:.)\.zep\.(?:c|h|php)\Z",
        r"(?i:\.designer\.(?:cs|vb)|\.feature\.cs|_tlb\.pas)\Z",
        r"\.(?:nib|xcworkspacedata|xcuserstate)\Z",
    ),
)  # fmt: skip


class _Mark(NamedTuple):
    """A text that, standing in lines `first` to `last` (from 0), gives a generator away."""

    extensions: str
    first: int
    last: int
    text: bytes
    at_line_start: bool = False


_MARKS: Final = (
    _Mark("go", 0, 39, b"// Code generated ", True),
    _Mark("proto", 0, 19, b"This file was autogenerated by go-to-protobuf"),
    _Mark("py java h cc cpp m rb php", 0, 2,
          b"Generated by the protocol buffer compiler.  DO NOT EDIT!"),
    _Mark("js", 5, 5, b"GENERATED CODE -- DO NOT EDIT!"),
    _Mark("ts", 0, 0, b"Code generated by protoc-gen-ts_proto. DO NOT EDIT."),
    _Mark("rb", 0, 2, b"Code generated by protoc-gen-twirp_ruby"),
    _Mark("rb py go js m java h cc cpp php", 0, 5, b"Autogenerated by Thrift Compiler"),
    _Mark("h", 0, 0, b"/* DO NOT EDIT THIS FILE - it is machine generated */"),
    _Mark("h", 8, 8, b"Automatically created by Devel::PPPort"),
    _Mark("g", 1, 1, b"generated by Xtest"),
    _Mark("c cpp", 0, 0, b"Generated by Cython"),
    _Mark("mod", 0, 0, b"PCBNEW-LibModule-V"),
    _Mark("mod", 0, 0, b"GFORTRAN module version '"),
    _Mark("meta", 0, 0, b"fileFormatVersion: "),
    _Mark("rb", 2, 2, b"# This file is automatically generated by Racc", True),
    _Mark("java", 0, 0, b"/* The following code was generated by JFlex ", True),
    _Mark("java", 0, 0, b"// This is a generated file. Not intended for manual editing.", True),
    _Mark("java", 0, 1, b"This file is generated by jOOQ."),
    _Mark("rd", 0, 0, b"% Generated by roxygen2: do not edit by hand"),
    _Mark("js", 0, 0, b"/* parser generated by jison ", True),
    _Mark("js", 0, 0, b"/* generated by jison-lex ", True),
    _Mark("js", 0, 0, b"// Generated by ", True),
    _Mark("cpp hpp h cc", 0, 0, b"// Generated by the gRPC", True),
    _Mark("js py lua cpp h java cs php", 0, 2, b"Generated by Haxe"),
    _Mark("dsp", 0, 2, b"# Microsoft Developer Studio Generated Build File"),
    _Mark("html htm xhtml", 0, 1, b"<!-- Generated by pkgdown: do not edit by hand -->"),
    _Mark("html htm xhtml", 2, 2, b"<!-- This is an automatically generated file.", True),
    _Mark("frm", 0, 0, b"TYPE=VIEW"),
)  # fmt: skip


def is_generated(path: str, content: Callable[[], bytes] | bytes) -> bool:
    """Whether a file was written by a program rather than a person.

    Args:
        content: the file's bytes, or what reads them; called only if the path does not decide.
    """
    if _GENERATED_PATH.search(path) is not None:
        return True
    name = path.rpartition("/")[2]
    stem, _, extension = name.rpartition(".")
    extension = extension.lower() if stem else ""
    if extension == "map" and name.lower().endswith((".js.map", ".css.map")):
        return True
    marks, rule = _marks(extension), _RULES.get(extension)
    if not marks and rule is None:
        return False
    data = (content if isinstance(content, bytes) else content()).removeprefix(codecs.BOM_UTF8)
    head = data[:_HEAD_BYTES]
    return any(_stands(mark, head) for mark in marks) or (rule is not None and rule(data, head))


@lru_cache(maxsize=1 << 12)
def _marks(extension: str) -> tuple[_Mark, ...]:
    return tuple(mark for mark in _MARKS if extension in mark.extensions.split())


def _stands(mark: _Mark, head: bytes) -> bool:
    at = head.find(mark.text)
    while at >= 0:
        line = head.count(b"\n", 0, at)
        if line > mark.last:
            return False
        if line >= mark.first and not (mark.at_line_start and at and head[at - 1] != 0x0A):
            return True
        at = head.find(mark.text, at + 1)
    return False


def _lines(head: bytes, count: int) -> list[bytes]:
    return head.split(b"\n", count)[:count]


_SOURCE_MAP: Final = re.compile(rb"^/[*/][#@] source(?:Mapping)?URL|sourceURL=", re.MULTILINE)
_PEGJS: Final = re.compile(rb"(?:[^/]|/[^*])*+/\*(?:[^*]|\*[^/])*?Generated by PEG.js")
_COFFEE_TEMPORARY: Final = re.compile(rb"_fn|_i|_len|_ref|_results")
_COFFEE_HELPER: Final = re.compile(rb"__(?:bind|extends|hasProp|indexOf|slice)")


def _style(data: bytes, head: bytes) -> bool:
    """Minified (more than 110 characters a line on average) or naming its source map."""
    breaks = data.count(b"\n")
    if (len(data) - breaks) // (breaks + 1) > 110:
        characters = len(data.decode("utf-8", "replace")) - breaks
        if characters // (breaks + 1) > 110:
            return True
    last_break = data.rfind(b"\n")
    last_two = data[data.rfind(b"\n", 0, max(last_break, 0)) + 1 :]
    return _SOURCE_MAP.search(last_two) is not None


def _script(data: bytes, head: bytes) -> bool:
    if _style(data, head) or _PEGJS.match(b"".join(_lines(head, 5))):
        return True
    if not (data.startswith(b"(function() {\n") and data.endswith(b"\n}).call(this);\n")):
        return False
    score = 0  # how much a CoffeeScript compiler's variables show; 3 is linguist's limit
    for line in data.split(b"\n"):
        if b"var " in line:
            score += len(_COFFEE_TEMPORARY.findall(line)) + 3 * len(_COFFEE_HELPER.findall(line))
    return score >= 3


def _source_map(data: bytes, head: bytes) -> bool:
    return re.match(rb'\{"version":\d+,|/\*\* Begin line maps\. \*\*/\{', head) is not None


def _net_documentation(data: bytes, head: bytes) -> bool:
    lines = data.split(b"\n")
    return (
        len(lines) > 3
        and b"<doc>" in lines[1]
        and b"<assembly>" in lines[2]
        and b"</doc>" in lines[-2]
    )


_FONT: Final = re.compile(rb"^[ \t]*(?:currentfile eexec\s+|/sfnts\s+\[\s<)", re.MULTILINE)
_CREATOR: Final = re.compile(
    rb"[0-9]|draw|mpage|ImageMagick|inkscape|MATLAB|PCBNEW|pnmtops|\(Unknown\)|Serif Affinity"
    rb"|Filterimage -tops"
)


def _postscript(data: bytes, head: bytes) -> bool:
    if _FONT.search(data):
        return True
    lines = _lines(head, 10)
    creator = next((line for line in lines if line.startswith(b"%%Creator: ")), None)
    if creator is None:
        return False
    eagle = any(line.startswith(b"%%Title: EAGLE Drawing ") for line in lines[:5])
    return _CREATOR.search(creator) is not None or (b"EAGLE" in creator and eagle)


def _cassette(data: bytes, head: bytes) -> bool:
    lines = data[-400:].split(b"\n")
    return len(lines) > 2 and b"recorded_with: VCR" in lines[-2]


_GIMP: Final = re.compile(
    rb"/\* GIMP [a-zA-Z0-9\- ]+ C-Source image dump \(.+?\.c\) \*/"
    rb"|/\*  GIMP header image file format \([a-zA-Z0-9\- ]+\): .+?\.h  \*/"
)


def _image_source(data: bytes, head: bytes) -> bool:
    return _GIMP.match(head) is not None


_DART: Final = re.compile(rb"generated code\W{2,3}do not modify")


def _dart(data: bytes, head: bytes) -> bool:
    return any(_DART.search(line.lower()) for line in _lines(head, 3))


def _game_maker(data: bytes, head: bytes) -> bool:
    opening = b"".join(_lines(head, 3))
    return data.count(b"\n") > 2 and (
        re.match(rb"\s*[{\[]", opening) is not None
        or re.match(rb"\d\.\d\.\d[^\n]+\|\{", head) is not None
    )


_DOXYGEN: Final = re.compile(rb"<!--\s+Generated by Doxygen\s+[.0-9]+\s*-->", re.IGNORECASE)
_META: Final = re.compile(rb"<meta\s([^>]+)>", re.IGNORECASE)
_ATTRIBUTE: Final = re.compile(
    rb"(?:^|(?<=\s))(name|content|value)\s*=\s*(?:\"([^\"]+)\"|'([^']+)'|([^\s\"']+))",
    re.IGNORECASE,
)
_GENERATORS: Final = re.compile(
    rb"(?:org\s+mode|j?latex2html|groff|makeinfo|texi2html|ronn)\b", re.IGNORECASE
)


def _page(data: bytes, head: bytes) -> bool:
    opening = b" ".join(_lines(head, 31))
    if _DOXYGEN.search(opening):
        return True
    for meta in _META.finditer(opening):
        found = {m[1].lower(): m[2] or m[3] or m[4] for m in _ATTRIBUTE.finditer(meta[1])}
        if found.get(b"name", b"").lower() == b"generator" and any(
            _GENERATORS.match(found.get(key, b"")) for key in (b"content", b"value")
        ):
            return True
    return False


def _sorbet(data: bytes, head: bytes) -> bool:
    lines = _lines(head, 5)
    return (
        len(lines) == 5
        and lines[0].startswith(b"# typed:")
        and b"DO NOT EDIT MANUALLY" in lines[2]
        and re.match(
            rb"# Please (?:run|instead update this file by running) `bin/tapioca", lines[4]
        )
        is not None
    )


_RULES: Final[dict[str, Callable[[bytes, bytes], bool]]] = {
    "css": _style, "js": _script, "map": _source_map, "xml": _net_documentation,
    "ps": _postscript, "eps": _postscript, "pfa": _postscript, "yml": _cassette,
    "c": _image_source, "h": _image_source, "dart": _dart, "yy": _game_maker, "yyp": _game_maker,
    "html": _page, "htm": _page, "xhtml": _page, "rbi": _sorbet,
}  # fmt: skip
