"""`Comparison`: what `lumpylens.benchmark` gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lumpylens.files.json_files import write_json
from lumpylens.files.tables import html_table, pandas_frame
from lumpylens.files.writing import whole_file
from lumpylens.report.comparison_table import markdown

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Comparison"]

SHOWN = (
    "detector",
    "auc",
    "auc_low",
    "auc_high",
    "training_core_seconds",
    "images_per_core_second",
)
"""Numbers of a row that a data frame and a notebook show."""


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """Detectors compared on the same images.

    Attributes
    ----------
    numbers : dict
        What ``NAME.json`` holds: ``rows``, one per detector, best first, each with its mean ROC
        curve ``roc`` at the false-positive rates ``roc_fpr``; ``runs``, ``failed``, ``trivial``,
        ``reference``, ``published``, and what was measured where.
    compensated : Comparison or None
        For a population: the same detectors on substructure whose mass is taken from the halo.
    """

    numbers: Mapping[str, Any]
    compensated: Comparison | None = None

    @property
    def failed(self) -> list[dict[str, Any]]:
        """Runs that ended with an error: ``detector``, ``seed``, and why they ``failed``."""
        return list(self.numbers["failed"])

    def columns(self) -> dict[str, list[Any]]:
        """The headline of each detector, best first."""
        return {name: [row.get(name) for row in self.numbers["rows"]] for name in SHOWN}

    def to_dict(self) -> dict[str, Any]:
        """All numbers, those of the compensated substructure under ``compensated``."""
        second = {} if self.compensated is None else {"compensated": self.compensated.to_dict()}
        return {**self.numbers, **second}

    def to_pandas(self) -> DataFrame:
        """`pandas.DataFrame`, one row per detector.

        Raises
        ------
        DataError
            If pandas is not installed.
        """
        return pandas_frame(self.columns())

    def markdown(self) -> str:
        """The tables as Markdown, which `write` writes, too."""
        return markdown(self.numbers)

    def write(self, folder: str | Path) -> Path:
        """Write ``NAME.html``, ``NAME.md`` and ``NAME.json``.

        Of a population, the same of ``NAME-compensated``, too.

        Raises
        ------
        DataError
            If `folder` cannot be written.
        """
        # matplotlib takes a second to load
        from lumpylens.report.comparison_page import comparison_page

        place, name = Path(folder), self.numbers["name"]
        compensated = self.compensated
        page = comparison_page(
            self.numbers, None if compensated is None else f"{compensated.numbers['name']}.html"
        )
        write_json(self.numbers, place / f"{name}.json")
        with whole_file(place / f"{name}.html") as path:
            path.write_text(page, encoding="utf-8", errors="backslashreplace")
        with whole_file(place / f"{name}.md") as path:
            path.write_text(self.markdown(), encoding="utf-8")
        if self.compensated is not None:
            self.compensated.write(place)
        return place

    def __repr__(self) -> str:
        lines = [f"Comparison of {len(self.numbers['rows'])} detectors on {self.numbers['data']}"]
        lines += [
            f"  {row['detector']:<10} AUC {row['auc']:.4f} "
            f"({row['auc_low']:.4f} to {row['auc_high']:.4f})"
            for row in self.numbers["rows"]
        ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return html_table(self.columns(), repr(self).splitlines()[0])
