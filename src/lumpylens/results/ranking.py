"""A scored list for a report: its rows, its images, and explanations of the highest ranks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lumpylens.data.images import LensImages
from lumpylens.files.paths import short_path
from lumpylens.results.calibration import Calibration, benjamini_hochberg
from lumpylens.results.explanation import Explanation
from lumpylens.results.score_table import ScoreTable

__all__ = ["CLASS", "Ranking", "about", "joined_tables"]

CLASS = "class"
"""Name of the column with the class, in a labelled list."""


@dataclass(frozen=True, eq=False, repr=False)
class Ranking:
    """A scored list and what a report shows of it.

    Attributes
    ----------
    table : ScoreTable
        With the column ``class`` if the list is labelled.
    images : LensImages
        In the order of `table`; read when they are drawn.
    calibration : Calibration
    explanations : dict of int to Explanation
        By position in `table`.
    fdr : float
        False-discovery rate of the flags.
    about : dict
        ``model``, ``detector``, ``data`` and ``lumpylens`` (the version), shown on the page.
    """

    table: ScoreTable
    images: LensImages
    calibration: Calibration
    explanations: Mapping[int, Explanation]
    fdr: float
    about: Mapping[str, str]

    @property
    def labelled(self) -> bool:
        """Tell whether the list has the column ``class``."""
        return CLASS in self.table.components

    def __repr__(self) -> str:
        return f"<Ranking of {len(self.table)} images, {len(self.explanations)} explained>"

    def _repr_html_(self) -> str:
        return self.table._repr_html_()


def joined_tables(tables: Mapping[str, ScoreTable], fdr: float) -> ScoreTable:
    """Join the tables of several classes; add the column ``class``, and flags over all rows."""
    parts = list(tables.values())
    columns = {
        name: np.concatenate([np.asarray(part.columns()[name]) for part in parts])
        for name in parts[0].columns()
    }
    q_value = benjamini_hochberg(columns["p_value"])
    classes = np.repeat(np.array(list(tables), dtype=str), [len(part) for part in parts])
    return replace(
        parts[0],
        id=list(columns["id"]),
        error=list(columns["error"]),
        warning=list(columns["warning"]),
        anomaly_score=columns["anomaly_score"],
        p_value=columns["p_value"],
        q_value=q_value,
        flag=q_value <= fdr,
        components={CLASS: classes} | {name: columns[name] for name in parts[0].components},
    )


def about(model: Any, detector: str, data: str) -> dict[str, str]:
    """Describe where the numbers of a page come from, without the path of a home folder."""
    from importlib.metadata import version

    return {
        "model": short_path(str(model)) if isinstance(model, (str, Path)) else detector,
        "detector": detector,
        "data": ", ".join(short_path(part) for part in data.split(", ")),
        "lumpylens": version("lumpylens"),
    }
