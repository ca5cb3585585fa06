"""Fit real lenses one by one: from cutouts with noise and PSF to a catalogue."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from lumpylens.data.checks import image_defect, noise_defect
from lumpylens.data.images import LensImage, LensImages
from lumpylens.errors import DataError, DataWarning
from lumpylens.files.digests import digest_of
from lumpylens.files.processes import in_processes
from lumpylens.files.progress import counted
from lumpylens.files.tables import check_table_place
from lumpylens.lenses.catalogue import (
    LensCatalogue,
    LensRow,
    Redshifts,
    read_redshifts,
    redshifts_by_lens,
    row_of,
    with_masses,
)
from lumpylens.lenses.cutout import LEAST_REACH, Cutout, with_numbers
from lumpylens.lenses.inflation import with_p_values
from lumpylens.lenses.noise_level import noise_notes
from lumpylens.lenses.remarks import Note, Remark, words

__all__ = ["fit"]

ASSUMED_SCALE_ARCSEC = 0.05
"""Of a pixel where neither file nor caller says: the Hubble camera's."""

RECIPE = "4"
"""Part of every digest; a change of the fit that changes its numbers raises it."""

LEAST_USABLE = 0.5
"""Part of the pixels within `LEAST_REACH` of the middle that must be usable."""

WRITE_EVERY_SECONDS, WRITE_SHARE = 10.0, 0.05
"""Least time between two writes of the table, and largest part of all time that writing takes."""


def fit(
    data: Any,
    *,
    band: str | None = None,
    out: str | Path | None = None,
    pixel_scale_arcsec: float | None = None,
    redshifts: str | Path | None = None,
    figures: str | Path | None = None,
    workers: int = 1,
    seed: int = 0,
    progress: bool = True,
) -> LensCatalogue:
    """Fit every lens of a collection, and look for a perturber in each.

    Parameters
    ----------
    data : str, Path or LensImages
        Cutouts with noise map and PSF, such as a folder with ``image.fits``, ``noise.fits`` and
        ``psf.fits`` in one sub-folder per lens.
    band : str, optional
        Which of the bands to take, where the files hold several.
    out : str or Path, optional
        Catalogue to write: CSV, ECSV or Parquet by suffix. It is written every few seconds, at the
        end and when the run is stopped. Lenses that it holds already are not fitted again unless
        their pixels changed, and rows of other lenses stay in it, after those of `data`.
    pixel_scale_arcsec : float, optional
        Where the files do not say. Without it 0.05 is assumed, and `quality` says so.
    redshifts : str or Path, optional
        Table with columns ``id``, ``lens_redshift``, ``source_redshift``; masses need it. Ids are
        those of `data`, or these without folder and ending where that is clear.
    figures : str or Path, optional
        Folder for a figure of every lens. A lens whose figure is not there is fitted again.
    workers : int
        Lenses fitted at once, each in a process of its own.
    seed : int
        Of the draws of noise behind the p-values.
    progress : bool
        Show a bar on standard error.

    Returns
    -------
    LensCatalogue
        In the order of `data`; a lens that cannot be fitted has an `error`.

    Raises
    ------
    DataError
        If there are no images or none of them can be fitted, or a place to write to or the
        redshifts make no sense.

    Warns
    -----
    DataWarning
        Before the work: if the table holds other lenses, or the same with other pixels, or ids of
        the redshifts are those of no lens.
    """
    if workers < 1:
        raise DataError(f"at least one worker is needed, got {workers}")
    place = None if out is None else Path(out)
    if place is not None:
        check_table_place(place)
    held = LensCatalogue.read(place) if place is not None and place.is_file() else ()
    distances = {} if redshifts is None else read_redshifts(Path(redshifts))
    images = LensImages.open(data, pixel_scale_arcsec=pixel_scale_arcsec, band=band).warned()
    ids = images.ids
    survey = _survey(images, seed, progress)
    distances, strangers = redshifts_by_lens(distances, ids)
    if strangers:
        warnings.warn(
            f"{redshifts}: {_some(strangers)} of it belong to no lens, or not to one alone; "
            f"ids are such as {ids[0]}",
            DataWarning,
            stacklevel=2,
        )
    if figures is not None:
        Path(figures).mkdir(parents=True, exist_ok=True)

    catalogue = _Catalogue(place, ids, distances, held, dict(survey.failed))
    known = {row.digest: row for row in held if not row.error}
    jobs = []
    for position, digest in survey.digests.items():
        name = ids[position]
        if digest in known and (figures is None or _drawn(name, figures)):
            catalogue.rows[position] = known[digest]
        else:
            jobs.append(_Job(images, position, seed, digest, figures, distances.get(name)))
    catalogue.warn_of_older_rows(known, jobs)
    with counted("fitting", len(jobs), show=progress) as step:
        try:
            with in_processes(_row, jobs, workers) as fitted:
                for number, row in fitted:
                    catalogue.rows[jobs[number].position] = row
                    catalogue.save_now_and_then()
                    step()
        finally:
            catalogue.save()
    return LensCatalogue(tuple(catalogue.all_rows()[: len(images)]))


@dataclass(frozen=True)
class _Survey:
    """What is known of every image before any is fitted: its digest, or why it has no fit."""

    digests: Mapping[int, str]
    failed: Mapping[int, LensRow]


def _survey(images: LensImages, seed: int, progress: bool) -> _Survey:
    """Read every image once. A fit takes many seconds, and to see that none is possible few.

    Raises
    ------
    DataError
        If no image can be fitted.
    """
    digests: dict[int, str] = {}
    failed: dict[int, LensRow] = {}
    bare = 0
    with counted("reading", len(images), show=progress) as step:
        for position in range(len(images)):
            item = images[position]
            try:
                digests[position] = _digest(cutout_of(item), seed)
            except DataError as problem:
                failed[position] = LensRow(id=item.id, error=str(problem))
                bare += item.image is not None and (item.noise is None or item.psf is None)
            step()
    if not digests:
        if not failed:
            raise DataError(f"no images in {images.location or 'the collection'}")
        none = f"none of the {len(images)} images of {images.location}"
        first = next(iter(failed.values()))
        if len(failed) == 1:
            raise DataError(f"{first.id} cannot be fitted: {first.error}")
        if bare == len(images):
            raise DataError(
                f"{none} has a noise map and a PSF; put noise.fits and psf.fits beside "
                "image.fits, or NAME_noise.fits and NAME_psf.fits beside NAME.fits"
            )
        raise DataError(f"{none} can be fitted; the first is {first.id}: {first.error}")
    return _Survey(digests, failed)


def _digest(cutout: Cutout, seed: int) -> str:
    """Of all that decides a row."""
    image, noise, psf = cutout.image, cutout.noise, cutout.psf
    settings = f"{cutout.id} {cutout.pixel_scale_arcsec!r} {seed} {RECIPE} {words(cutout.notes)}"
    return digest_of(
        repr(image.shape), image, repr(noise.shape), noise, repr(psf.shape), psf, settings
    )[:16]


@dataclass
class _Catalogue:
    """The table: rows of this run, and what it held before until there is better.

    Attributes
    ----------
    place : Path or None
    ids : sequence of str
        Of the lenses of this run.
    redshifts : dict of str to Redshifts
    held : sequence of LensRow
        What the file had.
    rows : dict of int to LensRow
        By position in this run.
    """

    place: Path | None
    ids: Sequence[str]
    redshifts: Mapping[str, Redshifts]
    held: Sequence[LensRow]
    rows: dict[int, LensRow] = field(default_factory=dict)
    next_write: float = 0.0

    def all_rows(self) -> list[LensRow]:
        """Those of this run in order, then those of other lenses."""
        older = {row.id: row for row in self.held}
        found = [self.rows.get(k, older.get(name)) for k, name in enumerate(self.ids)]
        ours = with_masses([row for row in found if row is not None], self.redshifts)
        return with_p_values([*ours, *self._others()])

    def _others(self) -> list[LensRow]:
        ours = set(self.ids)
        return [row for row in self.held if row.id not in ours]

    def save_now_and_then(self) -> None:
        """Write the table if it was not written a while ago: its rows may be many."""
        if time.monotonic() >= self.next_write:
            begun = time.monotonic()
            self.save()
            ended = time.monotonic()
            pause = max(WRITE_EVERY_SECONDS, (ended - begun) / WRITE_SHARE)
            self.next_write = ended + pause

    def save(self) -> None:
        """Write the table, if one is wanted."""
        if self.place is not None:
            LensCatalogue(tuple(self.all_rows())).write(self.place)

    def warn_of_older_rows(self, known: Mapping[str, LensRow], jobs: Sequence[_Job]) -> None:
        """Say what happens to rows that the table has."""
        if others := [row.id for row in self._others()]:
            warnings.warn(
                f"{self.place} has {_some(others)} that are not among these images; they stay in "
                "it, after these",
                DataWarning,
                stacklevel=3,
            )
        had = {row.id for row in known.values()}
        again = [self.ids[job.position] for job in jobs if job.digest not in known]
        if changed := [name for name in again if name in had]:
            warnings.warn(
                f"{self.place} has {_some(changed)} with other pixels or settings; they are "
                "fitted again, and their rows replaced",
                DataWarning,
                stacklevel=3,
            )


def _some(names: Sequence[str]) -> str:
    """How many, and which for example."""
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"{len(names)} {'id' if len(names) == 1 else 'ids'} ({shown})"


def _drawn(name: str, figures: str | Path) -> bool:
    from lumpylens.lenses.pictures import figure_paths

    return all(path.is_file() for path in figure_paths(name, figures))


@dataclass(frozen=True)
class _Job:
    """One lens to fit."""

    images: LensImages
    position: int
    seed: int
    digest: str
    figures: str | Path | None
    redshifts: Redshifts | None


def _row(job: _Job) -> LensRow:
    """Fit one lens; what goes wrong with it becomes its `error`."""
    item = job.images[job.position]
    try:
        return _fitted(job, cutout_of(item), job.digest)
    except DataError as problem:
        return LensRow(id=item.id, error=str(problem))
    # Real data break numerics in ways that no list foresees; the other lenses go on, and the
    # row says what happened.
    except (ArithmeticError, ValueError, RuntimeError, IndexError) as problem:
        line = " ".join(str(problem).split()) or type(problem).__name__
        return LensRow(id=item.id, error=f"the fit broke down: {line}")


def _fitted(job: _Job, cutout: Cutout, digest: str) -> LensRow:
    from lumpylens.lenses.analysis import analyse
    from lumpylens.lenses.quality import remarks

    found = analyse(cutout, seed=job.seed)
    notes = remarks(found)
    if job.figures is not None:
        from lumpylens.lenses.pictures import explain_lens

        explain_lens(found, job.figures, redshifts=job.redshifts, notes=notes)
    return row_of(found, notes, digest)


def cutout_of(item: LensImage) -> Cutout:
    """What a fit needs of an image.

    Raises
    ------
    DataError
        In one line, if it lacks something.
    """
    image, noise, psf = item.image, item.noise, item.psf
    if image is None:
        raise DataError(item.error or "no pixels")
    if item.stretched:
        raise DataError("an 8-bit picture is not linear in flux; give the FITS file")
    if noise is None:
        raise DataError("no noise map; put noise.fits beside image.fits, or NAME_noise.fits")
    of_pixels = image_defect(image) or noise_defect(noise, image.shape)
    if psf is None:
        # Pixels that are not numbers are masked; they are not what stands in the way.
        of_psf = item.error if item.error != of_pixels else ""
        raise DataError(of_psf or "no PSF; put psf.fits beside image.fits, or NAME_psf.fits")
    if noise.shape != image.shape:
        raise DataError(noise_defect(noise, image.shape))
    notes = []
    if broken := int(np.count_nonzero(~with_numbers(image, noise))):
        notes.append(Note(Remark.NOT_NUMBERS, (broken,)))
    scale = item.pixel_scale_arcsec
    if scale is None:
        scale = ASSUMED_SCALE_ARCSEC
        notes.append(Note(Remark.ASSUMED_SCALE, (scale,)))
    cutout = Cutout(item.id, image, noise, psf, scale, tuple(notes))
    usable = cutout.usable
    rows, columns = np.indices(image.shape)
    middle = [(length - 1) / 2 for length in image.shape]
    near = np.hypot(rows - middle[0], columns - middle[1]) * scale <= LEAST_REACH
    if usable[near].sum() < LEAST_USABLE * near.sum():
        raise DataError(
            f"more than half of the pixels within {LEAST_REACH:g} arcsec of the middle cannot be "
            "used: NaN or infinite, masked, or not positive in the noise map"
        )
    if defect := image_defect(image[usable][None] / cutout.unit):
        raise DataError(defect)
    return replace(cutout, notes=(*notes, *noise_notes(cutout)))
