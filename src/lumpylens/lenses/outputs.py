"""Folders that a fit writes to beside its table: figures, the page, products, other codes."""

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

__all__ = ["FigureTitle", "Outputs", "script_folder"]


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
    coolest : Path or None
        For COOLEST templates and the FITS files that they name.
    scripts : Path or None
        For scripts for another code, and the FITS files that they read.
    code : str or None
        Which code, with `scripts`.
    """

    figures: Path | None = None
    report: Path | None = None
    products: Path | None = None
    coolest: Path | None = None
    scripts: Path | None = None
    code: str | None = None

    @property
    def _drawn_into(self) -> list[Path]:
        folders = [] if self.figures is None else [self.figures]
        return folders if self.report is None else [*folders, self.report / IMAGES]

    @property
    def _exchanged(self) -> set[Path]:
        """Folders that get the pixels of the fits."""
        return {folder for folder in (self.coolest, self.scripts) if folder is not None}

    def check(self) -> None:
        """Refuse a folder that cannot be written, before the work.

        Raises
        ------
        DataError
            If it is a file, or cannot be written, or the page's folder holds other files; if there
            is no script for this code, or the package for COOLEST is not installed.
        """
        from lumpylens.lenses.exchange.coolest import check_coolest
        from lumpylens.lenses.exchange.place import CODES
        from lumpylens.lenses.page import check_page_place

        if self.code is not None and self.code not in CODES:
            raise DataError(f"no script for {self.code!r}; choose one of {', '.join(CODES)}")
        if self.coolest is not None:
            check_coolest()

        if self.report is not None:
            check_page_place(self.report)
        for folder in (self.figures, self.products, *self._exchanged):
            if folder is not None and folder.exists() and not folder.is_dir():
                raise DataError(f"{folder} is a file; give a folder to write to")
            if folder is not None:
                check_writable(folder / "lens.fits")

    def make_folders(self) -> None:
        """Make the folders."""
        for folder in (*self._drawn_into, self.products, *self._exchanged):
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
        from lumpylens.lenses.exchange.place import KINDS, data_path, script_path, template_path
        from lumpylens.lenses.pictures import figure_paths
        from lumpylens.lenses.products import product_paths

        paths: list[Path] = []
        if self.figures is not None:
            paths += figure_paths(row.id, self.figures)
        if self.report is not None and on_page:
            paths += figure_paths(row.id, self.report / IMAGES)
        if self.products is not None:
            paths += product_paths(row.id, self.products)
        if self.coolest is not None:
            paths.append(template_path(row.id, self.coolest))
        if self.scripts is not None and self.code is not None:
            paths.append(script_path(row.id, self.code, self.scripts))
        paths += [data_path(row.id, kind, folder) for folder in self._exchanged for kind in KINDS]
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
        self._draw_lens(analysis, row, redshifts)
        self._exchange_lens(analysis, redshifts)

    def _exchange_lens(self, analysis: LensAnalysis, redshifts: Redshifts | None) -> None:
        from lumpylens.lenses.exchange.coolest import write_template
        from lumpylens.lenses.exchange.data import write_data
        from lumpylens.lenses.exchange.scripts import write_script

        for folder in self._exchanged:
            write_data(analysis, folder)
        if self.coolest is not None:
            write_template(analysis, redshifts, self.coolest)
        if self.scripts is not None and self.code is not None:
            write_script(analysis, self.code, self.scripts)

    def _draw_lens(self, analysis: LensAnalysis, row: LensRow, redshifts: Redshifts | None) -> None:
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

        def whole(folder: Path | None) -> Path | None:
            return folder and folder.absolute()

        return Outputs(
            whole(self.figures),
            whole(self.report),
            whole(self.products),
            whole(self.coolest),
            whole(self.scripts),
            self.code,
        )


def script_folder(coolest: Path | None, table: Path | None) -> Path:
    """Folder for scripts: that of COOLEST templates, else ``NAME-scripts`` beside a table.

    Raises
    ------
    DataError
        If there is neither.
    """
    if coolest is not None:
        return coolest
    if table is None:
        raise DataError("a script needs a folder: give the table with `out`, or `coolest`")
    return table.with_name(f"{table.stem}-scripts")


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
