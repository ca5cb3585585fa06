"""Fit real lenses one by one: from cutouts with noise and PSF to a catalogue."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lumpylens.data.images import LensImages
from lumpylens.errors import DataError, DataWarning
from lumpylens.files.digests import digest_of
from lumpylens.files.processes import in_processes
from lumpylens.files.progress import counted
from lumpylens.files.tables import check_table_place
from lumpylens.lenses.catalogue import LensCatalogue, LensRow, row_of
from lumpylens.lenses.cutout import Cutout
from lumpylens.lenses.from_image import cutout_of
from lumpylens.lenses.growing import GrowingCatalogue, some_ids
from lumpylens.lenses.outputs import Outputs
from lumpylens.lenses.redshifts import Redshifts, read_redshifts, redshifts_by_lens
from lumpylens.lenses.remarks import words

__all__ = ["fit"]

RECIPE = "4"
"""Part of every digest; a change of the fit that changes its numbers raises it."""


def fit(
    data: Any,
    *,
    band: str | None = None,
    out: str | Path | None = None,
    pixel_scale_arcsec: float | None = None,
    redshifts: str | Path | None = None,
    figures: str | Path | None = None,
    report: str | Path | None = None,
    products: str | Path | None = None,
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
    report : str or Path, optional
        Folder for a page of all lenses in the table: ``report.html``, its pictures, ``fits.csv``.
        Of lenses that the table holds already, the 200 most significant are fitted again if their
        figure is not there.
    products : str or Path, optional
        Folder for FITS images with world coordinates (data, model, residual, source, maps) and
        DS9 regions of every lens. A lens whose files are not there is fitted again.
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
    outputs = Outputs(*(None if f is None else Path(f) for f in (figures, report, products)))
    outputs.check()
    held = LensCatalogue.read(place) if place is not None and place.is_file() else ()
    distances = {} if redshifts is None else read_redshifts(Path(redshifts))
    images = LensImages.open(data, pixel_scale_arcsec=pixel_scale_arcsec, band=band).warned()
    ids = images.ids
    survey = _survey(images, seed, progress)
    distances, strangers = redshifts_by_lens(distances, ids)
    if strangers:
        warnings.warn(
            f"{redshifts}: {some_ids(strangers)} of it belong to no lens, or not to one alone; "
            f"ids are such as {ids[0]}",
            DataWarning,
            stacklevel=2,
        )
    outputs.make_folders()

    catalogue = GrowingCatalogue(place, ids, distances, held, dict(survey.failed))
    reusable = {row.digest: row for row in held if not row.error}
    on_page = outputs.shown_first(held)
    jobs, changed = [], []
    fitted_before = {row.id for row in reusable.values()}
    for position, digest in survey.digests.items():
        name = ids[position]
        if digest in reusable:
            catalogue.rows[position] = reusable[digest]
            if not outputs.lacks(reusable[digest], on_page=name in on_page):
                continue
        elif name in fitted_before:
            changed.append(name)
        jobs.append(_Job(images, position, seed, digest, outputs, distances.get(name)))
    catalogue.warn_of_older_rows(changed)
    # There is a page from the start, of what the table holds.
    outputs.write_page(catalogue.all_rows(), images.location)
    with counted("fitting", len(jobs), show=progress) as step:
        try:
            with in_processes(_row, jobs, workers) as fitted:
                for number, row in fitted:
                    catalogue.rows[jobs[number].position] = row
                    catalogue.save_now_and_then()
                    step()
        finally:
            catalogue.save()
            outputs.write_page(catalogue.all_rows(), images.location)
    rows = catalogue.all_rows()
    outputs.write_titles(rows, workers, progress)
    return LensCatalogue(tuple(rows[: len(images)]))


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
        no_image = f"none of the {len(images)} images of {images.location}"
        first = next(iter(failed.values()))
        if len(failed) == 1:
            raise DataError(f"{first.id} cannot be fitted: {first.error}")
        if bare == len(images):
            raise DataError(
                f"{no_image} has a noise map and a PSF; put noise.fits and psf.fits beside "
                "image.fits, or NAME_noise.fits and NAME_psf.fits beside NAME.fits"
            )
        raise DataError(f"{no_image} can be fitted; the first is {first.id}: {first.error}")
    return _Survey(digests, failed)


def _digest(cutout: Cutout, seed: int) -> str:
    """Digest of all that decides a row."""
    image, noise, psf = cutout.image, cutout.noise, cutout.psf
    settings = f"{cutout.id} {cutout.pixel_scale_arcsec!r} {seed} {RECIPE} {words(cutout.notes)}"
    if cutout.sky is not None:
        settings += f" {cutout.sky.rounded()}"
    return digest_of(
        repr(image.shape), image, repr(noise.shape), noise, repr(psf.shape), psf, settings
    )[:16]


@dataclass(frozen=True)
class _Job:
    """One lens to fit."""

    images: LensImages
    position: int
    seed: int
    digest: str
    outputs: Outputs
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

    analysis = analyse(cutout, seed=job.seed)
    notes = remarks(analysis)
    row = row_of(analysis, notes, digest)
    job.outputs.write_lens(analysis, row, job.redshifts)
    return row
