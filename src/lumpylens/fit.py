"""Fit real lenses one by one: from cutouts with noise and PSF to a catalogue."""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lumpylens.data.checks import image_defect
from lumpylens.data.images import LensImage, LensImages
from lumpylens.errors import DataError
from lumpylens.lenses.catalogue import (
    LensRow,
    Redshifts,
    read_redshifts,
    read_rows,
    row_of,
    with_masses,
    write_rows,
)
from lumpylens.lenses.inflation import with_p_values
from lumpylens.progress import counted
from lumpylens.tables import check_table_place

if TYPE_CHECKING:
    from lumpylens.lenses.analysis import Cutout

__all__ = ["fit"]

ASSUMED_SCALE_ARCSEC = 0.05
"""Of a pixel where neither file nor caller says: the Hubble camera's."""

MASKED_NOISE = 1e8
"""Given to pixels that cannot be used."""

RECIPE = "2"
"""Part of every digest; a change of the fit that changes its numbers raises it."""

LEAST_USABLE = 0.5
"""Part of the pixels that must be usable."""


def fit(
    data: Any,
    *,
    out: str | Path | None = None,
    pixel_scale_arcsec: float | None = None,
    redshifts: str | Path | None = None,
    figures: str | Path | None = None,
    workers: int = 1,
    seed: int = 0,
    progress: bool = True,
) -> list[LensRow]:
    """Fit every lens of a collection, and look for a perturber in each.

    Parameters
    ----------
    data : str, Path or LensImages
        Cutouts with noise map and PSF, such as a folder with ``image.fits``, ``noise.fits`` and
        ``psf.fits`` in one sub-folder per lens.
    out : str or Path, optional
        Catalogue to write: CSV, ECSV or Parquet by suffix. It is written after every lens, and
        lenses that it holds already are not fitted again unless their pixels changed.
    pixel_scale_arcsec : float, optional
        Where the files do not say. Without it 0.05 is assumed, and `quality` says so.
    redshifts : str or Path, optional
        Table with columns ``id``, ``lens_redshift``, ``source_redshift``; masses need it.
    figures : str or Path, optional
        Folder for a figure of every lens. Lenses that are not fitted again get no new figure.
    workers : int
        Lenses fitted at once, each in a process of its own.
    seed : int
        Of the draws of noise behind the p-values.
    progress : bool
        Show a bar on standard error.

    Returns
    -------
    list of LensRow
        In the order of `data`; a lens that cannot be fitted has an `error`.

    Raises
    ------
    DataError
        If there are no images, or a place to write to or the redshifts make no sense.
    """
    if workers < 1:
        raise DataError(f"at least one worker is needed, got {workers}")
    known: dict[str, LensRow] = {}
    if out is not None:
        out = Path(out)
        check_table_place(out)
        known = (
            {row.digest: row for row in read_rows(out) if not row.error} if out.is_file() else {}
        )
    distances = read_redshifts(Path(redshifts)) if redshifts is not None else {}
    images = LensImages.open(data, pixel_scale_arcsec=pixel_scale_arcsec)
    if figures is not None:
        Path(figures).mkdir(parents=True, exist_ok=True)

    rows: dict[int, LensRow] = {}

    def finished() -> list[LensRow]:
        ordered = [rows[position] for position in sorted(rows)]
        return with_masses(with_p_values(ordered), distances)

    jobs = [
        _Job(images, position, seed, figures, distances.get(name))
        for position, name in enumerate(images.ids)
    ]
    with counted("fitting", len(jobs), show=progress) as step:
        for position, row in _run(jobs, known, workers):
            rows[position] = row
            if out is not None and not (row.digest in known and len(rows) < len(jobs)):
                write_rows(finished(), out)
            step()
    return finished()


@dataclass(frozen=True)
class _Job:
    """One lens to fit."""

    images: LensImages
    position: int
    seed: int
    figures: str | Path | None
    redshifts: Redshifts | None

    def digest(self, cutout: Cutout) -> str:
        """Of all that decides the row."""
        made = hashlib.sha256()
        for part in (cutout.image, cutout.noise, cutout.psf):
            made.update(repr(part.shape).encode() + np.ascontiguousarray(part).tobytes())
        made.update(f"{cutout.id} {cutout.pixel_scale_arcsec!r} {self.seed} {RECIPE}".encode())
        return made.hexdigest()[:16]


def _run(
    jobs: Sequence[_Job], known: dict[str, LensRow], workers: int
) -> Iterator[tuple[int, LensRow]]:
    """Rows as they are ready, with their positions."""
    if workers == 1 or len(jobs) < 2:
        for job in jobs:
            yield job.position, _row(job, known)
        return
    # A forked child of a process that has used threads can hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context) as pool:
        waiting = {pool.submit(_row, job, known): job.position for job in jobs}
        for future in as_completed(waiting):
            yield waiting[future], future.result()


def _row(job: _Job, known: dict[str, LensRow]) -> LensRow:
    """Fit one lens; what goes wrong with it becomes its `error`."""
    item = job.images[job.position]
    try:
        cutout = cutout_of(item)
        digest = job.digest(cutout)
        if digest in known:
            return known[digest]
        return _fitted(job, cutout, digest)
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
    quality = remarks(found)
    if job.figures is not None:
        from lumpylens.lenses.pictures import explain_lens

        explain_lens(found, job.figures, redshifts=job.redshifts, quality=quality)
    return row_of(found, quality, digest)


def cutout_of(item: LensImage) -> Cutout:
    """What a fit needs of an image.

    Raises
    ------
    DataError
        In one line, if it lacks something.
    """
    from lumpylens.lenses.analysis import Cutout

    image, noise, psf, remarks = item.image, item.noise, item.psf, []
    if image is None:
        raise DataError(item.error or "no pixels")
    if noise is None:
        raise DataError(
            item.error or "no noise map; put noise.fits beside image.fits, or NAME_noise.fits"
        )
    if psf is None:
        raise DataError(item.error or "no PSF; put psf.fits beside image.fits, or NAME_psf.fits")
    if item.stretched:
        raise DataError("an 8-bit picture is not linear in flux; give the FITS file")
    usable = np.isfinite(image) & np.isfinite(noise) & (noise > 0)
    if noise.shape == image.shape and not usable.all() and usable.mean() > LEAST_USABLE:
        image = np.where(usable, image, 0).astype(np.float32)
        noise = np.where(usable, noise, MASKED_NOISE).astype(np.float32)
        remarks.append(f"{np.count_nonzero(~usable)} pixels are not numbers and are masked")
        if defect := image_defect(image):
            raise DataError(defect)
    elif item.error:
        raise DataError(item.error)
    scale = item.pixel_scale_arcsec
    if scale is None:
        scale = ASSUMED_SCALE_ARCSEC
        remarks.append(f"pixel scale assumed to be {scale:g} arcsec")
    return Cutout(item.id, image, noise, psf, scale, tuple(remarks))
