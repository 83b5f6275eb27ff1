"""What a process that runs units does without."""

from __future__ import annotations

import subprocess
import sys

import pytest

SPARED = "from codeflow.execution.process import spare_pandas; spare_pandas(); "
LISTS = "import sys, pyarrow as pa; table = pa.table({'a': [1]}); "


@pytest.mark.parametrize(("first", "loaded"), [("", True), (SPARED, False)])
def test_pandas_is_imported_only_when_it_is_needed(first: str, loaded: bool) -> None:
    """Without the first line pyarrow imports it at once; with it, when a frame is asked for."""
    program = (
        f"{first}{LISTS}assert ('pandas' in sys.modules) is {loaded}; "
        "assert table.to_pandas()['a'].tolist() == [1]; assert 'pandas' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
