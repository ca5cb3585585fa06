"""Puts the brackets of ``results/limit.json`` beside the AUCs of `physics`: a table and a picture.

``python docs/limit.py`` writes both (``make results-table``). With ``--check`` it writes nothing,
and exits with 1 if the table is not current.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "results"
PAGE = ROOT / "docs" / "measured.md"
PICTURE = ROOT / "docs" / "images" / "limit.png"
BEGIN, END = "<!-- limit: begin -->", "<!-- limit: end -->"
HEAD = "| population | lumps | `physics` | lower end | upper end |\n|---|---|---:|---:|---:|"

POPULATIONS = {
    "slc": "Challenge",
    "euclid": "Euclid",
    "lsst": "LSST",
    "model-a": "Model A",
    "model-b": "Model B",
}
COMPENSATED = " compensated"
BAR, DOT = "#9fb8d6", "#b3261e"
"""Colours of the bracket and of `physics`."""


def rows() -> list[dict[str, Any]]:
    """The brackets, each with the AUC of `physics` and its interval, or None."""
    measured: list[dict[str, Any]] = read("limit")["rows"]
    return [row | {"physics": physics(row["population"], row["lumps"])} for row in measured]


def read(name: str) -> Any:
    """One of the files of results."""
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))


def physics(population: str, lumps: str) -> list[float] | None:
    """AUC and interval of `physics` on the same lumps, from the table that has them."""
    compensated = lumps.endswith(COMPENSATED)
    if "1 %" in lumps:
        for point in read("curves-slc")["detectors"]["physics"]["mass"]:
            if (point["mass_fraction"], point["compensated"]) == (0.01, compensated):
                auc: list[float] = point["auc"]["anomaly_score"]
                return auc
        return None
    for row in read(population + ("-compensated" if compensated else ""))["rows"]:
        if row["detector"] == "physics":
            return [row["auc"], row["auc_low"], row["auc_high"]]
    return None


def table(brackets: Sequence[Mapping[str, Any]]) -> str:
    """One line per bracket."""
    lines = [HEAD]
    for row in brackets:
        cells = [POPULATIONS[row["population"]], words(row["lumps"])]
        cells += [area(row[name]) for name in ("physics", "lower", "upper")]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def words(lumps: str) -> str:
    """What lumps are called on the page."""
    plain = lumps.removesuffix(COMPENSATED)
    share = "1 % of the mass" if "1 %" in plain else {"points": "8 %", "cdm": "4 %"}[plain]
    return share + (", compensated" if plain != lumps else "")


def area(values: Sequence[float] | None) -> str:
    """AUC and interval, or nothing."""
    if values is None:
        return ""
    value, low, high = values
    return f"{value:.2f} ({low:.2f} to {high:.2f})" if value < 0.995 else f"{value:.3f}"


def picture(brackets: Sequence[Mapping[str, Any]]) -> Figure:
    """Brackets as bars, from the lower to the upper end, and `physics` as points."""
    figure = Figure(figsize=(7.2, 0.36 * len(brackets) + 1.3), dpi=110, layout="constrained")
    axes = figure.subplots()
    for place, row in enumerate(brackets):
        low, high = row["lower"][0], row["upper"][0]
        # A bracket without width is drawn as a line.
        axes.barh(place, max(high - low, 0.004), 0.62, min(low, 0.996), color=BAR, lw=0)
        if row["physics"] is not None:
            value, least, most = row["physics"]
            axes.plot([least, most], [place, place], color=DOT, lw=1.4)
            axes.plot(value, place, "o", color=DOT, ms=5.5)
    names = [f"{POPULATIONS[row['population']]}, {words(row['lumps'])}" for row in brackets]
    axes.set(
        yticks=range(len(brackets)), yticklabels=names, xlim=(0.5, 1.005), xlabel="AUC",
        ylim=(len(brackets) - 0.4, -0.6),
    )  # fmt: skip
    axes.plot([], [], "o-", color=DOT, lw=1.4, ms=5.5, label="physics, 95 % interval")
    axes.barh([-9], [0], color=BAR, label="best possible detector lies here")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return figure


def main(check: bool) -> str:
    """Write table and picture, or say that the table is not current; empty if all is well."""
    brackets = rows()
    page = PAGE.read_text(encoding="utf-8")
    if BEGIN not in page or END not in page:
        return f"{PAGE.name} has no place for the brackets: put {BEGIN} and {END} in it"
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    written = f"{before}{BEGIN}\n\n{table(brackets)}\n\n{END}{after}"
    if check:
        current = written == page and PICTURE.is_file()
        return "" if current else "the brackets are not current: run make results-table"
    PAGE.write_text(written, encoding="utf-8")
    picture(brackets).savefig(PICTURE)
    return ""


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]) or 0)
