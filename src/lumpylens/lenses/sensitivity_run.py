"""Sensitivities of the lenses of a collection, into a table that grows and is gone on with."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lumpylens.data.images import LensImages
from lumpylens.errors import DataError
from lumpylens.files.processes import in_processes
from lumpylens.files.progress import counted
from lumpylens.lenses.analysis import fit_smooth_lens
from lumpylens.lenses.cutout import Cutout
from lumpylens.lenses.from_image import cutout_of
from lumpylens.lenses.growing import BREAKDOWNS, Pace, breakdown, newest_rows
from lumpylens.lenses.redshifts import Redshifts
from lumpylens.lenses.sensitivity import map_sensitivity
from lumpylens.lenses.sensitivity_maps import map_path, write_map
from lumpylens.lenses.sensitivity_row import SensitivitySettings, row_of
from lumpylens.lenses.sensitivity_table import SensitivityRow, SensitivityTable, with_ranks

__all__ = ["SensitivityRun"]

NO_REDSHIFTS = (
    "no redshifts: solar masses need those of lens and source; give --redshifts, a table with the "
    "columns id, lens_redshift, source_redshift"
)


@dataclass(frozen=True)
class Measurement:
    """A lens to compute, described by values that can be sent to another process.

    Attributes
    ----------
    cutout : Cutout
    redshifts : Redshifts
    settings : SensitivitySettings
    maps : Path or None
        Folder for its map.
    """

    cutout: Cutout
    redshifts: Redshifts
    settings: SensitivitySettings
    maps: Path | None

    def run(self) -> SensitivityRow:
        """Fit the smooth lens, and make its row and map; what goes wrong becomes the `error`."""
        begun = time.process_time()
        try:
            row = self._row()
        except DataError as problem:
            row = SensitivityRow(id=self.cutout.id, error=str(problem))
        except BREAKDOWNS as problem:
            row = SensitivityRow(id=self.cutout.id, error=breakdown(problem))
        digest = self.settings.digest(self.cutout, self.redshifts)
        return replace(row, seconds=time.process_time() - begun, digest=digest)

    def _row(self) -> SensitivityRow:
        fitted = fit_smooth_lens(self.cutout)
        sensitivity = map_sensitivity(fitted, self.redshifts, self.settings.subhaloes)
        if self.maps is not None:
            write_map(fitted, sensitivity, self.settings, self.maps)
        return row_of(fitted, sensitivity, self.redshifts, self.settings)


@dataclass
class SensitivityRun:
    """One run over a collection.

    Attributes
    ----------
    images : LensImages
    redshifts : mapping of str to Redshifts
        By id of the lens.
    settings : SensitivitySettings
    maps : Path or None
        Folder for maps.
    place : Path or None
        Of the table.
    held : sequence of SensitivityRow
        What the table had before.
    rows : dict of int to SensitivityRow
        By position in this run.
    left : list of int
        Positions that are still to be computed.
    """

    images: LensImages
    redshifts: Mapping[str, Redshifts]
    settings: SensitivitySettings
    maps: Path | None
    place: Path | None
    held: Sequence[SensitivityRow]
    rows: dict[int, SensitivityRow] = field(default_factory=dict)
    left: list[int] = field(default_factory=list)

    def survey(self, progress: bool) -> None:
        """Read every image once, and find those that are to be computed.

        Raises
        ------
        DataError
            If no image can be.
        """
        reusable = {row.digest: row for row in self.held if not row.error}
        with counted("reading", len(self.images), show=progress) as step:
            for position in range(len(self.images)):
                name = self.images.ids[position]
                try:
                    lens = self._measurement(position)
                except DataError as problem:
                    self.rows[position] = SensitivityRow(id=name, error=str(problem))
                else:
                    row = reusable.get(self.settings.digest(lens.cutout, lens.redshifts))
                    if row is None or self._lacks_map(row):
                        self.left.append(position)
                    else:
                        self.rows[position] = row
                step()
        failed = [row for row in self.rows.values() if row.error]
        if len(failed) == len(self.images):
            if not failed:
                raise DataError(f"no images in {self.images.location or 'the collection'}")
            raise DataError(
                f"none of the {len(failed)} images of {self.images.location} can be used; the "
                f"first is {failed[0].id}: {failed[0].error}"
            )

    def compute(self, workers: int, progress: bool) -> None:
        """Compute what is left, and write the table now and then, and at the end."""
        pace = Pace()
        tasks = map(self._measurement, self.left)
        with counted("measuring", len(self.left), show=progress) as step:
            try:
                with in_processes(Measurement.run, tasks, min(workers, len(self.left))) as results:
                    for number, row in results:
                        self.rows[self.left[number]] = row
                        pace.write(self._save)
                        step()
            finally:
                self._save()

    def table(self) -> SensitivityTable:
        """Rows of this run in order, then those of other lenses that the table had."""
        current, others = newest_rows(self.rows, self.images.ids, self.held)
        return SensitivityTable(tuple(with_ranks([*current, *others])))

    def _measurement(self, position: int) -> Measurement:
        cutout = cutout_of(self.images[position])
        if cutout.id not in self.redshifts:
            raise DataError(NO_REDSHIFTS)
        return Measurement(cutout, self.redshifts[cutout.id], self.settings, self.maps)

    def _lacks_map(self, row: SensitivityRow) -> bool:
        return self.maps is not None and not map_path(row.id, self.maps).is_file()

    def _save(self) -> None:
        if self.place is not None:
            self.table().write(self.place)
