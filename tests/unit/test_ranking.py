"""A list of several classes, and what a page says of where it comes from."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lumpylens import __version__
from lumpylens.files.paths import short_path
from lumpylens.results.ranking import about, joined_tables
from lumpylens.results.score_table import ScoreTable


def table(p_value: list[float]) -> ScoreTable:
    """Flagged as if each class were a list of its own."""
    count = len(p_value)
    return ScoreTable(
        id=[f"image {k}" for k in range(count)],
        anomaly_score=-np.array(p_value),
        error=["" if p == p else "empty file" for p in p_value],
        warning=[""] * count,
        p_value=p_value,
        q_value=np.full(count, 0.7),
        flag=np.ones(count, dtype=bool),
        components={"residual": np.arange(count) + 0.5},
    )


def test_a_list_of_two_classes_is_judged_as_a_whole() -> None:
    found = joined_tables(
        {"normal": table([0.2, 0.9, np.nan]), "anomalous": table([0.01, 0.03])}, 0.1
    )
    assert found.components["class"].tolist() == ["normal"] * 3 + ["anomalous"] * 2
    assert found.id == ["image 0", "image 1", "image 2", "image 0", "image 1"]
    assert found.error == ["", "", "empty file", "", ""]
    assert found.components["residual"].tolist() == [0.5, 1.5, 2.5, 0.5, 1.5]
    # Benjamini & Hochberg over four tests: 4/1, 4/2, 4/3 and 4/4 of the p-values in order.
    expected = [0.2 * 4 / 3, 0.9, np.nan, 0.01 * 4, 0.03 * 2]
    np.testing.assert_allclose(found.q_value, expected)
    assert found.flag.tolist() == [False, False, False, True, True]
    assert joined_tables({"normal": table([0.01])}, 0.005).flag.tolist() == [False]


def test_a_page_names_no_home_folder() -> None:
    assert short_path("/home/ada/lenses/normal") == "lenses/normal"
    assert short_path("/normal") == "normal"
    assert short_path("slc-physics") == "slc-physics"
    said = about(Path("/home/ada/models/mine"), "pca", "/home/ada/lenses/a, /home/ada/lenses/b")
    assert said == {
        "model": "models/mine", "detector": "pca", "data": "lenses/a, lenses/b",
        "lumpylens": __version__,
    }  # fmt: skip
    assert about(object(), "pca", "memory")["model"] == "pca"
