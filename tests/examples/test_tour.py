"""The notebook of the tour: it runs, from its first cell to its last, and uses what is public."""

from __future__ import annotations

import ast
import re
import tempfile
from pathlib import Path
from typing import Any

import nbformat
import pytest

import codeflow
from small_history import ROOT

TOUR = ROOT / "examples" / "tour.ipynb"


@pytest.fixture
def tour() -> Any:
    return nbformat.read(TOUR, as_version=4)


def cells(tour: Any, kind: str) -> list[Any]:
    return [cell for cell in tour.cells if cell.cell_type == kind]


def test_it_is_kept_without_outputs(tour: Any) -> None:
    """Outputs are of one machine, and make every change of the notebook unreadable."""
    nbformat.validate(tour)
    for cell in cells(tour, "code"):
        assert cell.outputs == []
        assert cell.execution_count is None
        assert cell.metadata == {}


def test_it_takes_codeflow_as_it_is_published(tour: Any) -> None:
    """No module of ours but the package itself, and of that only what `__all__` names."""
    tree = ast.parse("\n".join(cell.source for cell in cells(tour, "code")))
    imported = {
        a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names
    }
    assert {name for name in imported if name.startswith("codeflow")} == {"codeflow"}
    froms = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert not [name for name in froms if name.startswith("codeflow")]
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "codeflow"
    }
    assert {"mine", "open", "filter", "tokenize"} <= used <= set(codeflow.__all__)


def test_its_links_lead_somewhere_and_pages_lead_to_it(tour: Any) -> None:
    text = "\n".join(cell.source for cell in cells(tour, "markdown"))
    links = re.findall(r"\]\(([^)#]+)", text)
    assert len(links) > 3
    assert all((TOUR.parent / link).exists() for link in links)
    for page in ("README.md", "docs/index.md"):
        assert "examples/tour.ipynb" in (ROOT / page).read_text(), page


@pytest.mark.slow
def test_it_runs(tour: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # what it makes goes with the test
    with tempfile.TemporaryDirectory() as runtime:  # paths of sockets have to be short
        monkeypatch.setenv("JUPYTER_RUNTIME_DIR", runtime)
        place = {"ip": f"{runtime}/kernel", "connection_file": f"{runtime}/kernel.json"}
        kernel = AsyncKernelManager(transport="ipc", **place)  # no ports, which others may take
        where = {"metadata": {"path": str(TOUR.parent)}}
        NotebookClient(
            tour, km=kernel, timeout=None, startup_timeout=240, resources=where
        ).execute()
    [folder] = tmp_path.glob("codeflow-tour-*")
    assert (folder / "data/report.html").exists()
    assert list((folder / "data/runs/demo/checkpoints").glob("step-*"))
    drawn = [out for cell in cells(tour, "code") for out in cell.outputs if "data" in out]
    assert "image/svg+xml" in drawn[-1]["data"]
