"""The HTML page of a comparison of detectors: one file, with its figures inside."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from lumpylens.data.shortcuts import TRIVIAL_STATISTICS
from lumpylens.report import comparison_table as tables
from lumpylens.report import curves
from lumpylens.report.page import best_trivial, environment
from lumpylens.report.style import DARK, LIGHT, Theme

__all__ = ["comparison_page"]

REFERENCE_LABEL = "learned from labels"


def comparison_page(numbers: Mapping[str, Any], compensated: str | None) -> str:
    """Write the page for a result of `benchmark`.

    Parameters
    ----------
    numbers : dict
        See `lumpylens.report.comparison.Comparison`.
    compensated : str, optional
        Name of the page on mass-compensated substructure.
    """
    rows = list(numbers["rows"])
    reference = numbers["reference"]
    if reference is not None:
        rows.append({**reference, "detector": REFERENCE_LABEL})
    # results of version 0.1 hold no curves
    rates = {row["detector"]: row["roc"] for row in rows if row.get("roc") is not None}
    figures = {}
    if rates:
        figure = curves.Curves(
            numbers["roc_fpr"],
            rates,
            {row["detector"]: row["auc"] for row in rows},
            REFERENCE_LABEL,
            numbers["n_normal"],
        )
        figures = {
            "roc": embedded(lambda theme: curves.compared(theme, figure)),
            "roc_low": embedded(lambda theme: curves.compared_low(theme, figure)),
        }
    return (
        environment()
        .get_template("comparison.html.j2")
        .render(
            r=numbers,
            reference=reference,
            figures=figures,
            areas=", ".join(f"{row['detector']} {row['auc']:.4f}" for row in rows),
            without_curve=[row["detector"] for row in rows if row["detector"] not in rates],
            tables=tables,
            best_trivial=best_trivial(numbers["trivial"]),
            trivial_meaning=TRIVIAL_STATISTICS,
            compensated=compensated,
        )
    )


def embedded(draw: Callable[[Theme], Figure]) -> dict[str, str]:
    """Draw for a light and a dark page; theme -> the picture as an address of its own content."""
    pictures = {}
    for theme in (LIGHT, DARK):
        svg = io.BytesIO()
        with matplotlib.rc_context({"svg.hashsalt": "lumpylens"}):  # one figure, one file
            draw(theme).savefig(
                svg, format="svg", transparent=True, metadata={"Date": None, "Creator": None}
            )
        encoded = base64.b64encode(svg.getvalue()).decode("ascii")
        pictures[theme.name] = f"data:image/svg+xml;base64,{encoded}"
    return pictures
