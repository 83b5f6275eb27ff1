"""The index of what was mined tells when it is not as it was written."""

from __future__ import annotations

from pathlib import Path

from codeflow.config import MineConfig, as_mapping
from codeflow.errors import CodeflowError
from codeflow.mining import index
from codeflow.storage.layout import MINED_INDEX


def test_a_flipped_bit_anywhere_is_an_error_or_changes_nothing(tmp_path: Path) -> None:
    """Also in a key of the configuration, which a record does not type."""
    mined = index.MinedRepository("k", "r", "u", None, "1" * 40, "2" * 40, kinds={"commit": 3})
    written = index.MinedIndex(as_mapping(MineConfig()), "text-1:1048576", "ledger/x", (mined,))
    path = tmp_path / MINED_INDEX
    path.parent.mkdir()
    index.write(tmp_path, written)
    whole, seen = path.read_bytes(), 0
    before = index.read(tmp_path)
    assert before is not None
    places = range(0, len(whole), 3)
    for at in places:
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        try:
            assert index.read(tmp_path) == before, whole[at - 20 : at + 20]
        except CodeflowError:
            seen += 1
    assert seen > 0.9 * len(places)
