"""`Evaluation`: the result of `lumpylens.evaluate`, with the method that writes its folder."""

from __future__ import annotations

from pathlib import Path

from lumpylens.files.json_files import write_json
from lumpylens.files.writing import check_only, whole_folder
from lumpylens.report.place import IMAGES, PAGE
from lumpylens.results.evaluation import EvaluationData

__all__ = ["Evaluation", "check_evaluation_place"]

METRICS = "metrics.json"
SCORE_FILES = {"normal": "scores_normal.csv", "anomalous": "scores_anomalous.csv"}


class Evaluation(EvaluationData):
    """Result of `lumpylens.evaluate`; see `EvaluationData` for its attributes."""

    def write(self, folder: str | Path) -> Path:
        """Write ``metrics.json``, both score tables and the report.

        Raises
        ------
        DataError
            If `folder` holds other files than those of an evaluation, or cannot be written.
        """
        # drawing waits until there is something to draw: matplotlib takes a second to load
        from lumpylens.report.page import write_report

        place = Path(folder)
        check_evaluation_place(place)
        with whole_folder(place, made_by_us=METRICS) as part_folder:
            write_json(self.metrics, part_folder / METRICS)
            for name, file in SCORE_FILES.items():
                self.tables[name].write(part_folder / file)
            write_report(self, part_folder)
        return place


def check_evaluation_place(folder: Path) -> None:
    """Raise if a folder cannot be written, or holds anything but an older evaluation."""
    files = {METRICS, PAGE, IMAGES, *SCORE_FILES.values()}
    check_only(folder, made_by_us=METRICS, files=files, product="an evaluation")
