"""Score tables: order of columns and rows, files, views."""

from __future__ import annotations

import csv
import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from lumpylens.errors import DataError
from lumpylens.results.score_table import ScoreTable

NAN = float("nan")
SUFFIXES = [
    ".csv",
    ".ecsv",
    pytest.param(
        ".parquet",
        marks=pytest.mark.skipif(
            importlib.util.find_spec("pyarrow") is None, reason="pyarrow is not installed"
        ),
    ),
]


def small_table() -> ScoreTable:
    return ScoreTable(
        id=["a/1.jpg", "ü,2", 'three "3"', "4", "05"],
        anomaly_score=np.array([0.1, NAN, 1 / 3, 1e-300, 9.9]),
        error=["", "truncated: 3 of 9 blocks", "", "", ""],
        warning=["", "", "", "", "not like the training images"],
        p_value=np.array([0.5, NAN, 0.01, 0.5, NAN]),
        q_value=np.array([0.5, NAN, 0.03, 0.5, NAN]),
        flag=np.array([False, False, True, False, False]),
        components={
            "free_mass": np.array([1.0, NAN, np.pi, -2.0, 4.0]),
            "reconstruction_mse": np.array([1e-5, NAN, 2e-5, 3e-5, 4e-5]),
            "part": np.array(["train", "", "test", "test", "test"]),
        },
    )


def assert_same(one: ScoreTable, other: ScoreTable) -> None:
    assert list(one.columns()) == list(other.columns())
    for name, column in one.columns().items():
        assert_array_equal(np.asarray(column), np.asarray(other.columns()[name]), err_msg=name)


def test_an_image_counts_as_failed_or_as_warned_but_not_as_both() -> None:
    table = small_table()
    assert (table.n_failed, table.n_warned) == (1, 1)
    both = replace(table, warning=["", "not in the unit", "", "", "not like the training images"])
    assert (both.n_failed, both.n_warned) == (1, 1)


def test_columns_come_in_the_stated_order() -> None:
    assert list(small_table().columns()) == [
        "id", "anomaly_score", "p_value", "error", "q_value", "flag", "warning",
        "reconstruction_mse", "free_mass", "part",
    ]  # fmt: skip


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_gives_back_the_same_table(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "new" / f"scores{suffix}"
    assert small_table().write(path) == path
    assert_same(small_table(), ScoreTable.read(path))
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_empty_table_is_a_table(tmp_path: Path, suffix: str) -> None:
    small_table()[[]].write(tmp_path / f"scores{suffix}")
    assert len(ScoreTable.read(tmp_path / f"scores{suffix}")) == 0


@given(st.lists(st.tuples(st.text(max_size=8), st.floats(allow_infinity=False)), max_size=6))
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None
)
def test_csv_keeps_any_name_and_every_bit(tmp_path: Path, rows: list[tuple[str, float]]) -> None:
    empty = [""] * len(rows)
    numbers = np.array([number for _, number in rows], dtype=float)
    table = ScoreTable(
        [name for name, _ in rows], numbers, empty, empty, numbers, numbers, numbers > 0
    )
    table.write(tmp_path / "t.csv")
    again = ScoreTable.read(tmp_path / "t.csv")
    assert again.id == table.id
    assert again.anomaly_score.tobytes() == np.where(np.isnan(numbers), np.nan, numbers).tobytes()
    assert_array_equal(again.flag, table.flag)


def test_missing_numbers_are_empty_fields(tmp_path: Path) -> None:
    small_table().write(tmp_path / "scores.csv")
    with (tmp_path / "scores.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert rows[1]["anomaly_score"] == rows[1]["p_value"] == rows[1]["free_mass"] == ""
    assert rows[1]["error"] == "truncated: 3 of 9 blocks"
    assert rows[2]["anomaly_score"] == repr(1 / 3)
    assert rows[2]["flag"] == "true"


def test_ranking_puts_warned_images_after_the_trusted_and_failed_ones_last() -> None:
    table = small_table()
    assert table.ranked().id == ['three "3"', "a/1.jpg", "4", "05", "ü,2"]
    assert_array_equal(table.rank(), [2, 5, 1, 3, 4])
    assert table.top(2).id == table.ranked()[:2].id
    assert (table.n_failed, table.n_warned) == (1, 1)
    assert_array_equal(table.ranked().rank(), np.arange(1, 6))


def test_ranking_follows_the_raw_score_where_p_values_tie() -> None:
    scores = np.array([5.0, 7.0, 6.0])
    same, empty = np.full(3, 0.01), [""] * 3
    table = ScoreTable(["a", "b", "c"], scores, empty, empty, same, same, same < 1)
    assert table.ranked().id == ["b", "c", "a"]


def test_rows_are_chosen_by_slice_positions_or_mask() -> None:
    table = small_table()
    for index in (slice(1, 3), [1, 2], np.array([False, True, True, False, False])):
        assert_same(table[index], table[1:3])
    assert table[1:3].components["part"].tolist() == ["", "test"]


def test_other_shapes_hold_the_same_numbers() -> None:
    table = small_table()
    structured = table.to_structured()
    assert structured.dtype.names == tuple(table.columns())
    assert structured["id"][1] == "ü,2"
    assert_array_equal(structured["free_mass"], table.components["free_mass"])
    astropy_table = table.to_table()
    assert astropy_table["anomaly_score"].mask.tolist() == [False, True, False, False, False]
    assert "p-value" in astropy_table["p_value"].description


def test_views_show_the_top_and_escape_names() -> None:
    table = small_table()
    text, page = repr(table), table._repr_html_()
    assert text.splitlines()[0].startswith("ScoreTable of 5 images: 1 flagged")
    assert text.index('three "3"') < text.index("a/1.jpg")
    assert "truncated" in text
    assert "three &quot;3&quot;" in page
    nasty = ScoreTable(["<script>"], [1.0], [""], [""], [NAN], [NAN], [False])  # type: ignore[arg-type]
    assert "<script>" not in nasty._repr_html_()
    assert len(repr(table[[0] * 500]).splitlines()) < 20


@pytest.mark.parametrize("name", ["scores.txt", "scores"])
def test_other_suffixes_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"\.csv, \.ecsv, \.parquet"):
        small_table().write(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_parquet_without_pyarrow_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"pip install 'lumpylens\[parquet\]'"):
        small_table().write(tmp_path / "scores.parquet")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "no column 'id'"),
        ("id,score\na,1\n", "no column 'anomaly_score'"),
        ("id,anomaly_score\na,1\nb\n", "line 3 has 1 fields, the header 2"),
        ("id,anomaly_score\na,high\n", "high"),
    ],
)
def test_a_file_that_is_no_score_table_says_so(tmp_path: Path, content: str, reason: str) -> None:
    path = tmp_path / "scores.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=reason) as caught:
        ScoreTable.read(path)
    assert "scores.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read_or_written_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no table at"):
        ScoreTable.read(tmp_path / "none.csv")
    (tmp_path / "bad.ecsv").write_text("# %ECSV 1.0\n# ---\n# broken\nid\n")
    with pytest.raises(DataError, match="cannot be read as a table"):
        ScoreTable.read(tmp_path / "bad.ecsv")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write"):
        small_table().write(tmp_path / "file" / "scores.csv")


def test_columns_of_different_lengths_are_a_programming_error() -> None:
    with pytest.raises(ValueError, match="different lengths"):
        ScoreTable(["a"], [1.0, 2.0], [""], [""], [NAN], [NAN], [False])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="cannot be called 'flag'"):
        ScoreTable(["a"], [1.0], [""], [""], [NAN], [NAN], [False], {"flag": np.ones(1)})  # type: ignore[arg-type]


def test_rows_columns_and_tables_of_some_rows() -> None:
    table = small_table()
    row = table[2]
    assert (row.id, row.p_value, row.flag, row.note) == ('three "3"', 0.01, True, "flagged")
    assert row.components["free_mass"] == np.pi
    assert [other.id for other in table] == table.id
    assert [other.note for other in table][1] == "truncated: 3 of 9 blocks"
    assert table[-1].warning == "not like the training images"
    assert_array_equal(table["q_value"], table.q_value)
    assert table["part"].tolist() == ["train", "", "test", "test", "test"]
    assert table[1:3].id == table.id[1:3]
    with pytest.raises(IndexError):
        table[5]
    with pytest.raises(KeyError):
        table["p"]


def test_a_data_frame_has_the_columns_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    table = small_table()
    frame = table.to_pandas()
    assert list(frame) == list(table.columns())
    assert frame["id"].tolist() == table.id
    assert frame["p_value"].isna().tolist() == [False, True, False, False, True]
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(DataError, match="pip install pandas"):
        table.to_pandas()
