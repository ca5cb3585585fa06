"""Numbers, tables and examples of an evaluation, without its page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lumpylens.files.tables import html_table
from lumpylens.results.calibration import Calibration
from lumpylens.results.evaluation_numbers import counted_rows
from lumpylens.results.examples import Example
from lumpylens.results.ranking import Ranking
from lumpylens.results.reasons import why_none
from lumpylens.results.score_table import ScoreTable

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["EvaluationData"]


@dataclass(frozen=True, eq=False, repr=False)
class EvaluationData:
    """Numbers, tables and examples of an evaluation.

    Attributes
    ----------
    metrics : dict
        What ``metrics.json`` holds; None stands for a number that does not exist.
    tables : dict of str to ScoreTable
        ``normal`` and ``anomalous``: all given images. The column ``use`` says how each is
        used (``headline``, ``seen``, ``duplicate``, ``both classes``, ``failed``), ``part``
        the part of the split that its content falls into.
    calibration : Calibration
    history : list of dict
        The detector's training curve, empty where it has none.
    examples : dict of str to tuple of Example
        See `lumpylens.results.examples.choose_examples`.
    ranking : Ranking
        Both classes as one list: the images of the headline, and those that failed.
    """

    metrics: Mapping[str, Any]
    tables: Mapping[str, ScoreTable]
    calibration: Calibration
    history: list[dict[str, float]]
    examples: Mapping[str, tuple[Example, ...]]
    ranking: Ranking

    @property
    def auc(self) -> float:
        """Area under the ROC curve of the images that the model never saw."""
        return float(self.metrics["auc"])

    def rows(self, part: str | None = None) -> dict[str, ScoreTable]:
        """Rows of the headline by class, or those of one part of the split."""
        return counted_rows(self.tables, part)

    def to_pandas(self) -> DataFrame:
        """`pandas.DataFrame`: the images of the headline and those that failed, with ``class``.

        Raises
        ------
        DataError
            If pandas is not installed.
        """
        return self.ranking.table.to_pandas()

    def _repr_html_(self) -> str:
        area = (self.metrics["auc"], self.metrics["auc_low"], self.metrics["auc_high"])
        parts = {"anomaly_score": area} | {
            name: (part["auc"], part["auc_low"], part["auc_high"])
            for name, part in self.metrics["components"].items()
        }
        low, middle, high = ([row[k] for row in parts.values()] for k in (1, 0, 2))
        columns = {"score": list(parts), "AUC": middle, "from": low, "to": high}
        return html_table(columns, repr(self).splitlines()[0])

    def __repr__(self) -> str:
        m = self.metrics
        rates = ", ".join(f"{value:.3f} at FPR {fpr}" for fpr, value in m["tpr_at_fpr"].items())
        return (
            f"Evaluation of {m['model']['detector']} on {m['n_normal']} normal and "
            f"{m['n_anomalous']} anomalous images that it never saw\n"
            f"  AUC {m['auc']:.4f} (95 % interval {m['auc_low']:.4f} to {m['auc_high']:.4f})\n"
            f"  TPR {rates}\n"
            f"  failed: {m['n_failed_normal']} normal, {m['n_failed_anomalous']} anomalous"
            + "".join(f"\n  {name}: {reason}" for name, reason in self._foreign().items())
        )

    def _foreign(self) -> dict[str, str]:
        """Reasons why no image of a class can be trusted, by class; only where that is so."""
        reasons = {name: why_none(t.error, t.warning) for name, t in self.tables.items()}
        return {name: reason for name, reason in reasons.items() if reason}
