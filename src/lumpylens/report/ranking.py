"""The folder of a scored list: its page, its pictures, its table."""

from __future__ import annotations

from pathlib import Path

from lumpylens.files.writing import check_only, whole_folder
from lumpylens.report.place import IMAGES, PAGE
from lumpylens.results.ranking import Ranking

__all__ = ["check_ranking_place", "write_ranking"]

SCORE_FILE = "scores.csv"


def write_ranking(ranking: Ranking, folder: str | Path) -> Path:
    """Write ``report.html``, its pictures and ``scores.csv``.

    Raises
    ------
    DataError
        If `folder` holds other files than those of a report, or cannot be written.
    """
    # drawing waits until there is something to draw: matplotlib takes a second to load
    from lumpylens.report.page import write_list_report

    place = Path(folder)
    check_ranking_place(place)
    with whole_folder(place, made_by_us=PAGE) as part_folder:
        ranking.table.write(part_folder / SCORE_FILE)
        write_list_report(ranking, part_folder)
    return place


def check_ranking_place(folder: Path) -> None:
    """Raise if a folder cannot be written, or holds anything but an older report of a list."""
    files = {PAGE, IMAGES, SCORE_FILE}
    check_only(folder, made_by_us=PAGE, files=files, product="a list's report")
