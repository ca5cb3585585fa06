"""Fit real lenses one by one: from cutouts with noise and PSF to a catalogue."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lumpylens.data.images import LensImages
from lumpylens.errors import DataError, DataWarning
from lumpylens.files.progress import counted
from lumpylens.files.tables import check_table_place
from lumpylens.lenses.catalogue import LensCatalogue, LensRow
from lumpylens.lenses.from_image import cutout_of
from lumpylens.lenses.growing import GrowingCatalogue, unmatched_remark, with_later_rows
from lumpylens.lenses.outputs import FigureTitle, Outputs, script_folder
from lumpylens.lenses.priors import Priors, priors_of
from lumpylens.lenses.recipe import digest_of_lens
from lumpylens.lenses.redshifts import Redshifts, read_redshifts, redshifts_by_lens
from lumpylens.scale.engine import check_cluster, perform
from lumpylens.scale.fitting import (
    FitTasks,
    LensPaths,
    LensToFit,
    TitleTask,
    finished_rows,
    remove_shards,
    shard_folder,
)

__all__ = ["fit"]

TITLES_PER_TASK = 20
"""Titles of figures that are written at once: about ten seconds of work."""


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
    coolest: str | Path | None = None,
    script: str | None = None,
    workers: int = 1,
    cluster: str | None = None,
    shard: int = 1,
    priors: Mapping[str, float | Sequence[float]] | Sequence[str] | None = None,
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
        Catalogue to write: CSV, ECSV or Parquet by suffix. It is written at most every half a
        minute, at the end and when the run is stopped; until then the folder ``OUT.shards`` keeps
        the rows, so that a run that is killed loses none. Lenses that were fitted already are not
        fitted again unless their pixels changed, and rows of other lenses stay in the table,
        after those of `data`.
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
    coolest : str or Path, optional
        Folder for a COOLEST template of every lens, with the FITS files that it names. A lens
        whose files are not there is fitted again. It needs the extra ``coolest``.
    script : {"lenstronomy", "pyautolens"}, optional
        Write a Python script for every lens that builds it in this code and continues the fit,
        with the FITS files that it reads: into the folder of `coolest` if that is given, else into
        ``NAME-scripts`` beside the table ``NAME.csv``. A lens whose files are not there is fitted
        again.
    workers : int
        Lenses fitted at once, each in a process of its own.
    cluster : str, optional
        ``local:N`` (N processes of this machine), ``local`` (one per core), the address of a
        Dask scheduler or its scheduler file. `data` are then paths, and they and all places to
        write to are the same on all machines. Default: this machine, without Dask.
    shard : int
        Lenses that a worker takes at once. They are kept together or not at all: a worker that
        dies loses at most so many.
    priors : mapping of str to numbers, optional
        Other priors of the mass than the usual ones: mean and standard deviation of ``slope`` and
        ``einstein_radius`` (arcsec), standard deviation of ``shear``, ``ellipticity``, ``centre``
        (arcsec) and ``multipoles``, such as ``{"slope": (2.0, 0.15), "shear": 0.08}``. Lenses of
        the table that were fitted with others are fitted again.
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
        If there are no images or none of them can be fitted, a place to write to, the redshifts or
        the priors make no sense, there is no script for a code, or the cluster cannot be reached.

    Warns
    -----
    DataWarning
        Before the work: if the table holds other lenses, or the same with other pixels, or ids of
        the redshifts are those of no lens.
    """
    place = None if out is None else Path(out)
    _check_engine(place, workers, cluster, shard)
    stated = priors_of(priors)
    if place is not None:
        check_table_place(place)
    figures, report, products, coolest = (
        None if folder is None else Path(folder) for folder in (figures, report, products, coolest)
    )
    scripts = None if script is None else script_folder(coolest, place)
    outputs = Outputs(figures, report, products, coolest, scripts, script)
    outputs.check()
    paths = LensPaths.of(data, pixel_scale_arcsec, band)
    if cluster is not None and paths is None:
        raise DataError(
            "the workers of a cluster read the lenses themselves: give files or folders, not "
            "images that are read already"
        )
    with _shard_folder(place) as folder:
        table = LensCatalogue.read(place) if place is not None and place.is_file() else ()
        held = with_later_rows(table, finished_rows(folder))
        distances = {} if redshifts is None else read_redshifts(Path(redshifts))
        images = LensImages.open(data, pixel_scale_arcsec=pixel_scale_arcsec, band=band).warned()
        ids = images.ids
        survey = _survey(images, seed, stated, progress)
        distances, strangers = redshifts_by_lens(distances, ids)
        if redshifts is not None and strangers:
            remark = unmatched_remark(redshifts, strangers, ids)
            warnings.warn(remark, DataWarning, stacklevel=2)
        outputs.make_folders()
        catalogue = GrowingCatalogue(place, ids, distances, held, dict(survey.failed))
        lenses, changed = _lenses_to_fit(catalogue, survey, outputs, stated)
        catalogue.warn_of_older_rows(changed)
        if folder.is_dir():
            # A run was stopped. Its rows must be in the table before its shards go; they do go,
            # so that a lens which failed is tried again.
            catalogue.save()
            remove_shards(folder)
        shards = [tuple(lenses[k : k + shard]) for k in range(0, len(lenses), shard)]
        # One process alone has the collection open already.
        place_of_images = None if cluster is None and workers == 1 else paths
        tasks = FitTasks(images, place_of_images, shards, seed, outputs, folder)
        # There is a page from the start, of what the table holds.
        outputs.write_page(catalogue.all_rows(), images.location)
        with counted("fitting", len(lenses), show=progress) as step:
            try:
                with perform(tasks, cluster, workers) as outcomes:
                    _collect(outcomes, tasks, catalogue, step)
            finally:
                catalogue.save()
                outputs.write_page(catalogue.all_rows(), images.location)
        remove_shards(folder)
    rows = catalogue.all_rows()
    _write_titles(outputs.titles(rows), cluster, workers, progress)
    return LensCatalogue(tuple(rows[: len(images)]))


def _check_engine(place: Path | None, workers: int, cluster: str | None, shard: int) -> None:
    if workers < 1:
        raise DataError(f"at least one worker is needed, got {workers}")
    if shard < 1:
        raise DataError(f"a shard has at least one lens, got {shard}")
    if cluster is None:
        return
    check_cluster(cluster)
    if workers != 1:
        raise DataError("a cluster has workers of its own: leave out the number of workers")
    if place is None:
        raise DataError("a cluster needs a table: say with `out` where it is written")


@contextmanager
def _shard_folder(place: Path | None) -> Iterator[Path]:
    """Folder for the shards: beside the table, so that they outlast a run that is killed."""
    if place is not None:
        yield shard_folder(place)
        return
    with tempfile.TemporaryDirectory(prefix="lumpylens-") as folder:
        yield Path(folder) / "shards"


def _lenses_to_fit(
    catalogue: GrowingCatalogue, survey: _Survey, outputs: Outputs, priors: Priors
) -> tuple[list[LensToFit], list[str]]:
    """Put the rows that are known into the catalogue, and list what is left to do.

    Returns
    -------
    lenses : list of LensToFit
        Lenses without a row, or without a file that is wanted.
    changed : list of str
        Ids of those which have a row of other pixels or settings.
    """
    on_page = outputs.shown_first(catalogue.all_rows())
    reusable = {row.digest: row for row in catalogue.held if not row.error}
    lenses, changed = [], []
    fitted_before = {row.id for row in reusable.values()}
    for position, digest in survey.digests.items():
        name = catalogue.ids[position]
        if digest in reusable and not _lacks_halo(reusable[digest], catalogue.redshifts.get(name)):
            catalogue.rows[position] = reusable[digest]
            if not outputs.lacks(reusable[digest], on_page=name in on_page):
                continue
        elif digest not in reusable and name in fitted_before:
            changed.append(name)
        lenses.append(LensToFit(position, name, digest, catalogue.redshifts.get(name), priors))
    return lenses, changed


def _lacks_halo(row: LensRow, redshifts: Redshifts | None) -> bool:
    """Tell whether the profiles of a perturber were compared without a halo at these redshifts."""
    return (
        bool(row.perturber_profile)
        and redshifts is not None
        and (row.nfw_redshifts != str(redshifts))
    )


def _collect(
    outcomes: Iterable[tuple[int, bool | str]],
    tasks: FitTasks,
    catalogue: GrowingCatalogue,
    step: Callable[[], None],
) -> None:
    """Take the rows of each shard into the catalogue as soon as they are there."""
    for number, outcome in outcomes:
        lenses = tasks.shards[number]
        if isinstance(outcome, bool):
            rows = tasks.rows(number)
            catalogue.rows |= {lens.position: row for lens, row in zip(lenses, rows, strict=True)}
        else:
            # A row that is known stays: the shard was to draw its figure.
            for lens in lenses:
                failed = LensRow(id=lens.id, error=outcome)
                catalogue.rows.setdefault(lens.position, failed)
        catalogue.save_now_and_then()
        for _ in lenses:
            step()


def _write_titles(
    titles: Sequence[FigureTitle], cluster: str | None, workers: int, progress: bool
) -> None:
    tasks = [
        TitleTask(tuple(titles[k : k + TITLES_PER_TASK]))
        for k in range(0, len(titles), TITLES_PER_TASK)
    ]
    with (
        counted("writing titles", len(titles), show=progress) as step,
        perform(tasks, cluster, workers) as outcomes,
    ):
        for number, outcome in outcomes:
            if isinstance(outcome, str):
                raise DataError(outcome)
            for _ in tasks[number].titles:
                step()


@dataclass(frozen=True)
class _Survey:
    """What is known of every image before any is fitted: its digest, or why it has no fit."""

    digests: Mapping[int, str]
    failed: Mapping[int, LensRow]


def _survey(images: LensImages, seed: int, priors: Priors, progress: bool) -> _Survey:
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
                digests[position] = digest_of_lens(cutout_of(item), seed, priors)
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
