"""The report in a real Chromium: drawn, legible, quiet, and safe from what it shows."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from browser import Browser, Page, browser_path
from codeflow.terminal.report.writer import write
from reported import ATTACK, FAILED_REPO, HOSTILE_REPO, Reported, curated

WIDTHS = {"wide": 1280, "tablet": 800, "phone": 390, "narrow phone": 360, "small phone": 320}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    path = browser_path()
    if path is None and os.environ.get("CI"):
        pytest.fail("no Chromium: .ci/run installs the distribution's")
    if path is None:
        pytest.skip("no Chromium here: install the distribution's `chromium`")
    with Browser(path, tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture(scope="module")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Reported:
    found = curated(tmp_path_factory.mktemp("page"))
    write(found.folder)
    return found


@pytest.fixture(scope="module")
def pages(browser: Browser, reported: Reported) -> dict[str, Page]:
    """The page at every width, and in the dark."""
    path = reported.folder / "report.html"
    opened = {name: browser.open(path, width) for name, width in WIDTHS.items()}
    return opened | {"dark": browser.open(path, dark=True)}


MARKS = """
[...document.querySelectorAll("figure")].map(figure => {
  const svgs = [...figure.querySelectorAll("svg")].filter(s => s.getClientRects().length);
  const marks = svgs.flatMap(s => [...s.querySelectorAll("[role=graphics-symbol]")])
    .filter(m => !/axis|legend/.test(m.getAttribute("aria-roledescription")));
  const sizes = marks.map(m => m.getBoundingClientRect());
  return {
    key: figure.id, drawings: svgs.length,
    marks: sizes.filter(r => r.width + r.height > 1).length,
    painted: marks.map(m => getComputedStyle(m)).filter(s => [s.fill, s.stroke].some(
      c => c !== "none" && !c.startsWith("rgba(0, 0, 0, 0"))).length,
    title: figure.querySelector("b").innerText,
    takeaway: figure.querySelector("figcaption span").innerText,
  };
})
"""


@pytest.mark.parametrize("name", [*WIDTHS, "dark"])
def test_every_chart_is_drawn(pages: dict[str, Page], name: str) -> None:
    figures = {figure["key"]: figure for figure in pages[name].eval(MARKS)}
    wanted = {"funnel", "drops", "position-commit", "position-span", "lives", "languages"}
    wanted |= {f"size-{n}" for n in ("lines", "files", "bytes", "commits")}
    wanted |= {"licences", "clusters", "detection", "loss"}
    names = ("languages", "kinds", "speed", "gradients", "gates", "layers", "change")
    wanted |= {f"run1-{n}" for n in names}
    assert set(figures) == wanted
    for figure in figures.values():
        assert figure["drawings"] == 1, figure
        assert figure["marks"] > 0, figure
        assert figure["painted"] > 0, figure
        assert figure["title"], figure
        assert figure["takeaway"].endswith("."), figure


def test_nothing_is_asked_for_and_nothing_complains(
    pages: dict[str, Page], reported: Reported
) -> None:
    for page in pages.values():
        assert page.requests == [(reported.folder / "report.html").as_uri()]
        assert page.problems == []


def test_bars_are_as_long_as_their_numbers(pages: dict[str, Page], reported: Reported) -> None:
    bars = pages["wide"].eval(
        """[...document.querySelectorAll("#drops .svg-wide [aria-roledescription=bar]")].map(
        bar => [bar.getAttribute("aria-label"), bar.getBoundingClientRect().width])"""
    )
    counts = [int(text.rpartition(": ")[2].split()[0]) for text, _ in bars]
    assert sorted(counts) == sorted(reported.rules.values())
    unit = bars[0][1] / counts[0]
    for (_, width), count in zip(bars, counts, strict=True):
        assert width == pytest.approx(unit * count, abs=1.0)


def test_hostile_text_is_shown_and_does_nothing(pages: dict[str, Page]) -> None:
    for page in pages.values():
        assert page.eval("window.pwned") is None
        assert page.eval("document.images.length + document.links.length") == page.eval(
            "document.querySelectorAll('nav a').length"
        )
        assert page.eval("document.scripts.length") == 1
        handlers = "[...document.querySelectorAll('*')].flatMap(e => e.getAttributeNames())"
        assert page.eval(f"{handlers}.filter(n => n.startsWith('on')).length") == 0
        text = page.eval("document.body.textContent")
        assert f"{ATTACK}" in text
        assert HOSTILE_REPO in text
        assert FAILED_REPO in text


def test_the_policy_stops_what_escaping_might_miss(browser: Browser, reported: Reported) -> None:
    """And what the tests above look for is seen when it is there."""
    path = reported.folder / "broken.html"
    page = (reported.folder / "report.html").read_text(encoding="utf-8")
    attack = f'{ATTACK}<img src="http://127.0.0.1:9/x.png"><style>@import "http://127.0.0.1:9/";'
    path.write_text(page.replace("<main>", f"<main>{attack}</style>"), encoding="utf-8")
    opened = browser.open(path)
    assert opened.eval("window.pwned") is None
    assert len(opened.problems) >= 3, opened.problems
    without = page.replace('http-equiv="Content-Security-Policy"', "")
    path.write_text(without.replace("<main>", f"<main>{ATTACK}"), encoding="utf-8")
    assert browser.open(path).eval("window.pwned") is not None


@pytest.mark.parametrize("name", WIDTHS)
def test_no_width_scrolls_sideways(pages: dict[str, Page], name: str) -> None:
    page = pages[name]
    page.eval("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    assert page.eval("document.documentElement.scrollWidth") <= WIDTHS[name]
    beyond = page.eval(
        """[...document.querySelectorAll("body *")].filter(e => !e.closest(".scroll, #tip")
        && e.getClientRects().length && e.getBoundingClientRect().right > innerWidth + 0.5)
        .map(e => e.outerHTML.slice(0, 120))"""
    )
    assert beyond == []


@pytest.mark.parametrize("name", ["phone", "narrow phone", "small phone"])
def test_reasons_are_read_on_a_phone_without_scrolling(pages: dict[str, Page], name: str) -> None:
    page = pages[name]
    page.eval("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    regions = page.eval(
        """[...document.querySelectorAll("table.words")].map(t => [
        t.parentElement.scrollWidth, t.parentElement.clientWidth])"""
    )
    assert regions
    assert all(inside <= width for inside, width in regions)
    cells = page.eval(
        """[...document.querySelectorAll("table.words td:last-child, summary .why")].map(e => [
        e.innerText, e.getBoundingClientRect().width, e.scrollWidth - e.clientWidth])"""
    )
    assert any("no such folder" in text for text, _, _ in cells)
    for text, width, over in cells:
        assert width >= 0.6 * WIDTHS[name], text
        assert over <= 0, text


@pytest.mark.parametrize("name", WIDTHS)
def test_text_in_charts_is_large_enough_to_read(pages: dict[str, Page], name: str) -> None:
    sizes = pages[name].eval(
        """[...document.querySelectorAll("svg text")].filter(t => t.getClientRects().length)
        .map(t => { const m = t.getScreenCTM();
          return parseFloat(getComputedStyle(t).fontSize) * Math.hypot(m.a, m.b); })"""
    )
    assert len(sizes) > 50
    least = {"small phone": 9, "narrow phone": 10.5}.get(name, 11)
    assert min(sizes) >= least
    assert max(sizes) <= 16


CONTRASTS = """
(() => {
  const light = colour => {
    const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map(v => {
      const c = v / 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = e => { for (; e; e = e.parentElement) {
    const c = getComputedStyle(e).backgroundColor;
    if (!/, 0\\)$/.test(c)) return c; } };
  const ratio = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p);
    return (x + 0.05) / (y + 0.05); };
  const seen = e => e.getClientRects().length;
  const texts = [...document.querySelectorAll("p, dd, dt, a, b, span, td, th, code, mark, h1, h2")];
  const found = texts.filter(seen).map(e => [e.tagName + "." + e.className,
    ratio(getComputedStyle(e).color, behind(e))]);
  for (const t of [...document.querySelectorAll("svg text")].filter(seen))
    found.push(["text", ratio(getComputedStyle(t).fill, behind(t.closest("figure")))]);
  return { least: found.sort((a, b) => a[1] - b[1])[0], paper: light(behind(document.body)) };
})()
"""


@pytest.mark.parametrize("name", ["wide", "dark"])
def test_colours_suit_the_scheme_and_can_be_read(pages: dict[str, Page], name: str) -> None:
    """WCAG's 4.5 for all text, over what lies behind it."""
    found = pages[name].eval(CONTRASTS)
    assert found["least"][1] >= 4.5, found
    assert found["paper"] < 0.05 if name == "dark" else found["paper"] > 0.9


def test_a_mark_says_what_it_is_when_pointed_at(pages: dict[str, Page]) -> None:
    page = pages["wide"]
    label = page.eval(
        """(() => { const bar = document.querySelector("#funnel [aria-roledescription=bar]");
        bar.dispatchEvent(new PointerEvent("pointermove", {bubbles: true, clientX: 9, clientY: 9}));
        return bar.getAttribute("aria-label"); })()"""
    )
    tip: dict[str, Any] = page.eval(
        """(() => { const t = document.getElementById("tip");
        return {text: t.innerText, hidden: t.hidden, left: t.getBoundingClientRect().left}; })()"""
    )
    assert tip["text"] == label
    assert not tip["hidden"]
    assert tip["left"] >= 0


def test_contents_lead_to_every_section(pages: dict[str, Page]) -> None:
    page = pages["wide"]
    links = page.eval("[...document.querySelectorAll('nav a')].map(a => a.hash.slice(1))")
    assert links == page.eval("[...document.querySelectorAll('section')].map(s => s.id)")
    assert page.eval("new Set([...document.querySelectorAll('[id]')].map(e => e.id)).size") == (
        page.eval("document.querySelectorAll('[id]').length")
    )


def test_paper_is_white_whatever_the_screen(browser: Browser, reported: Reported) -> None:
    page = browser.open(reported.folder / "report.html", dark=True, media="print")
    assert page.eval("getComputedStyle(document.querySelector('nav')).display") == "none"
    found = page.eval(CONTRASTS)
    assert found["paper"] > 0.9
    assert found["least"][1] >= 4.5, found


def test_pages_are_told_apart(browser: Browser, tmp_path: Path) -> None:
    """The driver itself: another page's problems are its own."""
    (tmp_path / "bad.html").write_text("<script>console.error('x'); nothing()</script>")
    (tmp_path / "good.html").write_text("<p>well</p>")
    bad, good = browser.open(tmp_path / "bad.html"), browser.open(tmp_path / "good.html")
    assert len(bad.problems) == 2
    assert good.problems == []
