"""The page: one HTML file that needs nothing but itself.

Everything a repository, a plug-in or a run names is hostile: control and direction characters are
made visible, Jinja escapes all text, and a content security policy in the page forbids every
request and every script but the page's own, by its hash. The bytes depend on the folder alone:
no date, no path, no order of arrival.
"""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from pathlib import Path
from typing import Any

from codeflow.dataset import reader as datasets
from codeflow.terminal.report import curation, examples, figures, stages, training, views
from codeflow.terminal.report.charts import Chart, draw, label
from codeflow.terminal.report.gather import gather
from codeflow.text.escape import one_line, visible


def render(folder: Path) -> str:
    """The page of a dataset folder.

    Raises:
        DataError: it is not a dataset, or is damaged.
    """
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals["draw"] = draw
    environment.filters.update(commas="{:,}".format, visible=visible, oneline=one_line)
    script, style = _asset("page.js"), _asset("page.css")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.from_string(_asset("page.html.j2")).render(
        script=Markup(script), style=Markup(style), digest=digest, **_values(folder)
    )


def _asset(name: str) -> str:
    return resources.files("codeflow.terminal.report").joinpath(name).read_text(encoding="utf-8")


def _values(folder: Path) -> dict[str, Any]:
    """Everything the template prints, by the names it uses."""
    dataset = datasets.open(folder)
    published = gather(dataset)
    done = stages.read_stages(dataset.manifest)
    ledger = stages.read_ledger(dataset, done)
    drawn = ledger.triples[: views.RULES]
    rows = [row for rule in drawn for row in rule.examples]
    near = [examples.kept_id(row) for row in ledger.near]
    found = examples.find(folder, [*rows, *ledger.near], near)
    pair = examples.choose_pair(ledger.near, found)
    runs = training.read_runs(folder)
    flows = examples.choose_flows(dataset) if dataset.has_steps else []
    return {
        "made_by": label(str(dataset.manifest.get("created_by", "codeflow"))),
        "deterministic": dataset.manifest.get("deterministic", True),
        "headline": views.headline(published),
        "tiles": views.tiles(dataset, published, done, ledger),
        "funnel": _drawn(
            curation.funnel(published, done, ledger), curation.drops(ledger), curation.weighed(done)
        ),
        "reasons": [views.reason(rule, ledger, found) for rule in drawn],
        "more_reasons": len(ledger.triples) - len(drawn),
        "files": ledger.files[: views.RULES],
        "failed": ledger.repositories,
        "more_failed": ledger.more_repositories,
        "positions": [
            figures.positions(published, kind, colour)
            for kind, colour in figures.kind_colours(published).items()
        ],
        "lives": _drawn(figures.lives(published)),
        "repositories": views.repositories(published),
        "languages": _drawn(curation.languages(published, done)),
        "sizes": _drawn(*(figures.sizes(published, name) for name in figures.MEASURES)),
        "origins": _drawn(*figures.origins(published)),
        "clusters": _drawn(curation.clusters(done), curation.detection(done)),
        "pair": None if pair is None else views.pair(*pair),
        "flows": [views.flow(triple) for triple in flows],
        "triples": [views.shown(example) for example in examples.choose(dataset)],
        "runs": views.run_table(runs),
        "run_charts": training.run_charts(runs),
        "run_details": [
            (label(run.name), training.detail_charts(run, number))
            for number, run in enumerate(runs[: training.DETAILED], 1)
        ],
    }


def _drawn(*charts: Chart | None) -> list[Chart]:
    return [chart for chart in charts if chart is not None]
