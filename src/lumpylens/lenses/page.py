"""The page of fitted lenses: a row, a thumbnail, the figure and a sentence for each."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from lumpylens.files.paths import short_path
from lumpylens.files.writing import check_only, whole_file
from lumpylens.lenses.catalogue import (
    LEAST_P,
    MEANINGS,
    TEXT_COLUMNS,
    LensCatalogue,
    LensRow,
    p_words,
)
from lumpylens.lenses.inflation import SEEN_SNR
from lumpylens.lenses.pictures import figure_paths, file_stem
from lumpylens.lenses.verdict import CANDIDATE_P, Status, status_of, verdict_of
from lumpylens.report.place import IMAGES, PAGE

if TYPE_CHECKING:
    from lumpylens.report.listing import Listing

__all__ = ["TABLE", "check_page_place", "in_order", "thumbnail_path", "write_page"]

TABLE = "fits.csv"
"""The table beside the page."""

TESTED = (Status.CANDIDATE, Status.COMPLEX_MASS, Status.LUMINOUS, Status.NO_PERTURBER)
"""Verdicts on lenses that have a p-value."""

COLUMNS = (
    "id",
    "perturber_p_value",
    "einstein_radius_arcsec",
    "einstein_radius_err",
    "perturber_limit_arcsec",
    "perturber_limit_msun",
    "perturber_einstein_radius_arcsec",
    "perturber_mass_msun",
    "perturber_x_arcsec",
    "perturber_y_arcsec",
    "perturber_log_evidence",
    "perturber_log_evidence_multipoles",
    "ellipticity",
    "shear",
    "slope",
    "chi2_per_pixel",
    "ra_deg",
    "dec_deg",
)
"""Columns of the page; the table beside it has all."""

DIGITS, P_VALUE_DIGITS, DEGREE_DECIMALS = 6, 2, 6
"""Digits of the page's numbers: more would double its size, and are in the table. A p-value is
known to about two, and six decimals of a degree are 4 milliarcseconds."""


def check_page_place(folder: Path) -> None:
    """Raise if a folder cannot be written, or holds anything but an older page of lenses."""
    files = {PAGE, IMAGES, TABLE}
    check_only(folder, made_by_us=PAGE, files=files, product="a page of fitted lenses")


def thumbnail_path(id: str, folder: str | Path) -> Path:
    """Path of the thumbnail of a lens."""
    return Path(folder) / f"thumb-{file_stem(id)}.png"


def in_order(rows: Sequence[LensRow]) -> list[LensRow]:
    """Sort as the page does: by p-value, then fits in doubt by gain, then what has no fit."""

    def key(row: LensRow) -> tuple[float, float, bool]:
        gain = 0.0 if math.isnan(row.perturber_log_evidence) else row.perturber_log_evidence
        p_value = row.perturber_p_value
        return (2.0 if math.isnan(p_value) else p_value, -gain, bool(row.error))

    return sorted(rows, key=key)


def write_page(rows: Sequence[LensRow], folder: Path, location: str) -> Path:
    """Write ``report.html`` and ``fits.csv`` beside the figures that ``images`` holds.

    Parameters
    ----------
    rows : sequence of LensRow
    folder : Path
        Made if it is not there.
    location : str
        Where the images come from.

    Returns
    -------
    Path
        The page.
    """
    from lumpylens.report.page import render_page

    (folder / IMAGES).mkdir(parents=True, exist_ok=True)
    lenses = LensCatalogue(tuple(rows))
    counts = Counter(map(status_of, lenses))
    tested = sum(counts[s] for s in TESTED)
    text = render_page(
        "lenses.html.j2",
        listing=_listing(in_order(lenses), folder),
        data=", ".join(short_path(part) for part in location.split(", ")),
        table=TABLE,
        total=len(lenses),
        counts={status.value: counts[status] for status in Status},
        tested=tested,
        by_chance=CANDIDATE_P * tested,
        candidate_p=CANDIDATE_P,
        seen_snr=SEEN_SNR,
        best=lenses.most_significant,
        p_words=p_words,
        lumpylens=version("lumpylens"),
    )
    lenses.write(folder / TABLE)
    with whole_file(folder / PAGE) as part_file:
        # Names of files may hold bytes that are no UTF-8.
        part_file.write_text(text, encoding="utf-8", errors="backslashreplace")
    return folder / PAGE


def _listing(rows: Sequence[LensRow], folder: Path) -> Listing:
    from lumpylens.report.listing import THUMBNAILS, Listing, ListWords

    words = ListWords(
        nouns=("lens", "lenses"),
        note_title="verdict",
        gallery_title="Most significant first",
        gallery_text="Open a lens for its figure, then go on with the arrow keys.",
        condition=f"perturber_p_value<{CANDIDATE_P:g}",
        choices=tuple((status.value, status.value) for status in Status),
    )
    values = {name: [_short(name, getattr(row, name)) for row in rows] for name in COLUMNS}
    columns = {"rank": list(range(1, len(rows) + 1)), **values}
    figures = [figure_paths(row.id, folder / IMAGES) for row in rows]
    thumbnails = [thumbnail_path(row.id, folder / IMAGES) for row in rows[:THUMBNAILS]]
    data = {
        "nouns": words.nouns,
        "note_title": words.note_title,
        "gists": [p_words(row.perturber_p_value) for row in rows],
        "kinds": [status_of(row).value for row in rows],
        "notes": (verdicts := [verdict_of(row) for row in rows]),
        "sentences": verdicts,
        "columns": [
            {
                "key": key,
                "label": key.replace("_", " "),
                "text": key in TEXT_COLUMNS,
                "meaning": MEANINGS.get(key, ""),
                "decimals": DEGREE_DECIMALS if key.endswith("_deg") else 0,
                "least": LEAST_P if key == "perturber_p_value" else None,
            }
            for key in columns
        ],
        "rows": columns,
        "thumbs": [_link(path) for path in thumbnails],
        "figures": [
            [_link(path) for path in pair] if all(path.is_file() for path in pair) else None
            for pair in figures
        ],
        "explained": {},
        "points": [],
        "palettes": {},
        "labelled": False,
    }
    return Listing(data, words)


def _link(path: Path) -> str:
    """Address of a picture for the page, empty if it is not there."""
    from urllib.parse import quote

    return f"{IMAGES}/{quote(path.name, errors='surrogateescape')}" if path.is_file() else ""


def _short(name: str, value: str | float) -> str | float | None:
    if isinstance(value, str):
        return value
    if math.isnan(value):
        return None
    if name.endswith("_deg"):
        return round(value, DEGREE_DECIMALS)
    digits = P_VALUE_DIGITS if name == "perturber_p_value" else DIGITS
    return float(f"{value:.{digits}g}")
