"""Folders that a fit writes to beside its table: figures, the page, products."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lumpylens.errors import DataError
from lumpylens.files.writing import check_writable
from lumpylens.lenses.catalogue import LensRow
from lumpylens.lenses.verdict import verdict_of
from lumpylens.report.place import IMAGES

if TYPE_CHECKING:
    from lumpylens.lenses.analysis import LensAnalysis
    from lumpylens.lenses.redshifts import Redshifts

__all__ = ["FigureTitle", "Outputs"]


@dataclass(frozen=True)
class Outputs:
    """Folders for what is drawn and written of each lens; None for what is not wanted.

    Attributes
    ----------
    figures : Path or None
        For a figure of every lens.
    report : Path or None
        For the page, with figures and thumbnails in its folder of images.
    products : Path or None
        For FITS and region files.
    """

    figures: Path | None = None
    report: Path | None = None
    products: Path | None = None

    @property
    def _drawn_into(self) -> list[Path]:
        folders = [] if self.figures is None else [self.figures]
        return folders if self.report is None else [*folders, self.report / IMAGES]

    def check(self) -> None:
        """Refuse a folder that cannot be written, before the work.

        Raises
        ------
        DataError
            If it is a file, or cannot be written, or the page's folder holds other files.
        """
        from lumpylens.lenses.page import check_page_place

        if self.report is not None:
            check_page_place(self.report)
        for folder in (self.figures, self.products):
            if folder is not None and folder.exists() and not folder.is_dir():
                raise DataError(f"{folder} is a file; give a folder to write to")
            if folder is not None:
                check_writable(folder / "lens.fits")

    def make_folders(self) -> None:
        """Make the folders."""
        for folder in (*self._drawn_into, self.products):
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)

    def lacks(self, row: LensRow, *, on_page: bool) -> bool:
        """Tell whether something of a fitted lens is missing.

        Parameters
        ----------
        row : LensRow
        on_page : bool
            Whether the page should show its figure.
        """
        from lumpylens.lenses.pictures import figure_paths
        from lumpylens.lenses.products import product_paths

        paths: list[Path] = []
        if self.figures is not None:
            paths += figure_paths(row.id, self.figures)
        if self.report is not None and on_page:
            paths += figure_paths(row.id, self.report / IMAGES)
        if self.products is not None:
            paths += product_paths(row.id, self.products)
        return not all(path.is_file() for path in paths)

    def shown_first(self, rows: Sequence[LensRow]) -> set[str]:
        """Ids of the lenses whose figures are made for the page if they are missing."""
        if self.report is None:
            return set()
        from lumpylens.lenses.page import in_order
        from lumpylens.report.listing import THUMBNAILS

        return {row.id for row in in_order(rows)[:THUMBNAILS]}

    def write_lens(self, analysis: LensAnalysis, row: LensRow, redshifts: Redshifts | None) -> None:
        """Draw and write what is wanted of one lens; the title of its figure comes later.

        Parameters
        ----------
        analysis : LensAnalysis
        row : LensRow
            Of that analysis.
        redshifts : Redshifts or None
            If they are given, sensitivities are in solar masses, otherwise Einstein radii.
        """
        if not self._drawn_into and self.products is None:
            return
        from lumpylens.lenses.page import thumbnail_path
        from lumpylens.lenses.pictures import file_stem, pictures_of
        from lumpylens.lenses.products import write_products
        from lumpylens.report.lens_figure import write_lens_figure, write_lens_thumbnail

        pictures = pictures_of(analysis, redshifts)
        for folder in self._drawn_into:
            write_lens_figure(pictures, folder, file_stem(row.id))
        if self.report is not None:
            write_lens_thumbnail(pictures, thumbnail_path(row.id, self.report / IMAGES))
        if self.products is not None:
            write_products(analysis, pictures, row, self.products)

    def write_page(self, rows: Sequence[LensRow], location: str) -> None:
        """Write what shows many lenses at once: the page, and the regions of all."""
        if self.report is not None:
            from lumpylens.lenses.page import write_page

            write_page(rows, self.report, location)
        if self.products is not None:
            from lumpylens.lenses.products import write_regions

            write_regions(rows, self.products)

    def titles(self, rows: Sequence[LensRow]) -> list[FigureTitle]:
        """Titles that figures lack or have with other numbers: p-values depend on all lenses."""
        if not self._drawn_into:
            return []
        from lumpylens.lenses.pictures import figure_paths
        from lumpylens.report.figure_title import has_title

        titles = [
            FigureTitle(str(light.parent.absolute()), light.stem, _title(row))
            for folder in self._drawn_into
            for row in rows
            for light, dark in [figure_paths(row.id, folder)]
            if light.is_file() and dark.is_file()
        ]
        return [title for title in titles if not has_title(title.folder, title.name, title.text)]

    def absolute(self) -> Outputs:
        """The same folders for a process that may run elsewhere."""
        folders = (self.figures, self.report, self.products)
        return Outputs(*(folder and folder.absolute() for folder in folders))


@dataclass(frozen=True)
class FigureTitle:
    """Text to write above both figures of a lens, ``NAME.png`` and ``NAME-dark.png``."""

    folder: str
    name: str
    text: str

    def write(self) -> None:
        """Write it, in place of the one they have."""
        from lumpylens.report.figure_title import write_title

        write_title(Path(self.folder), self.name, self.text)


def _title(row: LensRow) -> str:
    return (
        f"{row.id}: Einstein radius {row.einstein_radius_arcsec:.3f} arcsec, gain in log evidence "
        f"{row.perturber_log_evidence:.0f}\n{verdict_of(row)}"
    )
