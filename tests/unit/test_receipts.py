"""Receipts: of which work, or of none."""

from __future__ import annotations

import pytest

from lumpylens.files import receipts
from lumpylens.files.receipts import read_receipt, write_receipt

CONTENT = {"settings": {"seed": [0, 1]}, "run": "ab", "result": None}


def test_a_receipt_of_the_work_comes_back_whole(tmp_path):
    write_receipt(CONTENT, tmp_path / "new" / "a.json")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.json"]
    for wanted in ({}, {"run": "ab"}, {"settings": {"seed": [0, 1]}, "run": "ab"}):
        assert read_receipt(tmp_path / "new" / "a.json", wanted) == CONTENT


@pytest.mark.parametrize(
    "wanted", [{"run": "b"}, {"runs": "ab"}, {"settings": {"seed": [1, 0]}}, {"result": 0}]
)
def test_that_of_other_work_is_none(tmp_path, wanted):
    write_receipt(CONTENT, tmp_path / "a.json")
    assert read_receipt(tmp_path / "a.json", wanted) is None


@pytest.mark.parametrize("text", ["", '{"run": "a', '["run"]', '"run"', "\ufeff{}", "\x80"])
def test_what_is_torn_or_something_else_is_none(tmp_path, text):
    (tmp_path / "a.json").write_bytes(text.encode("latin-1", "replace"))
    assert read_receipt(tmp_path / "a.json", {}) is None


def test_what_is_absurdly_large_is_not_read(tmp_path, monkeypatch):
    write_receipt(CONTENT, tmp_path / "a.json")
    monkeypatch.setattr(receipts, "MAX_BYTES", 10)
    assert read_receipt(tmp_path / "a.json", {}) is None
    assert read_receipt(tmp_path / "none.json", {}) is None
