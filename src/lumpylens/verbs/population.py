"""How much of the mass of many lenses is in substructure, with a posterior."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lumpylens.data.images import LensImages
from lumpylens.errors import DataError, ModelError
from lumpylens.files.paths import short_path
from lumpylens.files.progress import counted
from lumpylens.files.tables import write_columns
from lumpylens.files.versions import installed_versions
from lumpylens.files.writing import check_writable
from lumpylens.fraction.result import SubstructureFraction
from lumpylens.report.place import PAGE
from lumpylens.scale.engine import check_cluster
from lumpylens.store.folder import load_model, model_digest

if TYPE_CHECKING:
    from lumpylens.detectors.outcome import Scores
    from lumpylens.fraction.likeness import Likeness
    from lumpylens.fraction.posterior import FractionPosterior
    from lumpylens.simulation.populations import Population
    from lumpylens.simulation.substructure import Substructure

__all__ = ["population"]

NUMBERS, LENSES, SIMULATED = "population.json", "lenses.csv", "simulated"
POSTERIOR, COMPARED = "posterior.png", "lenses.png"
LEAST_LENSES = 10
"""Fewer say so little that the prior decides."""

LEAST_SIMULATED = 1000
"""Fewer teach no density; errors are part of the posterior from some thousands on."""

SMALLEST_SHARE = 1e-3
"""Of the largest fraction: where a log-uniform prior begins."""


def population(
    model: str | Path,
    data: str | Path | ArrayLike | LensImages,
    *,
    out: str | Path | None = None,
    band: str | None = None,
    recipe: str | Population = "slc",
    substructure: str | Substructure = "points-compensated",
    settings: Mapping[str, Any] | None = None,
    sources: str | Path | None = None,
    largest: float = 0.1,
    prior: str = "uniform",
    simulations: int = 10_000,
    cache: str | Path | None = None,
    seed: int = 0,
    workers: int = 1,
    cluster: str | None = None,
    progress: bool = True,
) -> SubstructureFraction:
    """Infer the fraction of mass in substructure that the lenses of a set share.

    Lenses of known fractions are simulated, and the model looks at them as it looks at the set. The
    density of what it sees, at given fraction and depth of a lens, is the likelihood of that lens.
    The mass of the smooth lens is free throughout, and labels of the set are never read.

    Parameters
    ----------
    model : str or Path
        A `physics` model for such images: its folder, or the name of one that comes with the
        package.
    data : str, Path, array_like or LensImages
        The set: at least 10 images, whose classes nobody needs to know.
    out : str or Path, optional
        Folder for ``population.json``, ``report.html``, figures, and the simulated lenses.
    band : str, optional
        Which of the bands to take, where the files hold several.
    recipe : str or Population
        Population of lenses like those of the set: see `lumpylens.simulate`.
    substructure : str or Substructure
        Kind of the substructure: see `lumpylens.simulate`. Its fraction is what is inferred.
    settings : mapping, optional
        Numbers of the substructure that replace its defaults, such as ``{"count": 10}``.
    sources : str or Path, optional
        What is behind the simulated lenses: see `lumpylens.simulate`.
    largest : float
        Largest fraction that is considered.
    prior : {"uniform", "log-uniform"}
        Of the fraction, from 0 to `largest`; the logarithmic one from a thousandth of it.
    simulations : int
        Number of simulated lenses. Their finite number widens the posterior; to use a set well,
        simulate several times as many lenses as it has.
    cache : str or Path, optional
        Folder for the simulated lenses, which other sets can share. Default: in `out`; without
        that, they are not kept.
    seed : int
        Decides everything random.
    workers : int
        Processes that simulate.
    cluster : str, optional
        ``local:N``, or a Dask scheduler, in place of `workers`: see `score_shards`.
    progress : bool
        Show progress on standard error.

    Returns
    -------
    SubstructureFraction
        Without a posterior, if the set is not like simulated ones.

    Raises
    ------
    DataError
        If there are fewer than 10 lenses that can be used, the simulated ones cannot be made, a
        setting makes no sense, or `out` holds something else.
    ModelError
        If the model cannot be loaded or is not of the kind `physics`, or zuko is not installed.
    """
    from lumpylens.fraction.comparing import like_simulated
    from lumpylens.fraction.density import EPOCHS, FOLDS, check_zuko
    from lumpylens.fraction.likelihood import SetLikelihood
    from lumpylens.fraction.summaries import summaries_from, summaries_of
    from lumpylens.scale.summarising import drawn_fractions, simulate_and_look
    from lumpylens.simulation.images import lumps_of
    from lumpylens.simulation.presets import population as population_of
    from lumpylens.simulation.sources import located_sources

    check_zuko()
    chosen = population_of(recipe)
    lumps = lumps_of(chosen, substructure, settings)
    assert lumps is not None  # there is no set without a kind of substructure
    _check_lumps(lumps)
    _check_numbers(largest, prior, simulations, seed, workers, cluster)
    check_cluster(cluster)
    folder = None if out is None else Path(out)
    if folder is not None:
        _check_place(folder)
    digest = model_digest(model)
    trained = load_model(model)
    if trained.detector.name != "physics":
        raise ModelError(
            f"the fraction is inferred from what a physics model sees, and {model} is "
            f"{trained.detector.name}; train one with --detector physics"
        )
    images = LensImages.open(data, band=band).warned()
    if len(images) < LEAST_LENSES:
        raise _too_few(len(images), images.location)
    with counted("looking at the set", len(images), show=progress) as step:
        scores = trained.detector.score(images, on_image=step)
    reasons = [error or text for error, text in zip(scores.error, scores.warning, strict=True)]
    described = {
        "model": short_path(model),
        "model_digest": digest,
        "data": short_path(images.location),
        "recipe": chosen.name,
        "substructure": repr(lumps),
        "largest": largest,
        "prior": prior,
        "simulations": simulations,
        "seed": seed,
        "versions": {**installed_versions(), "zuko": version("zuko")},
    }

    def result(
        posterior: FractionPosterior | None, likeness: Likeness | None, refusal: str
    ) -> SubstructureFraction:
        found = SubstructureFraction(
            list(images.ids), reasons, posterior, likeness, refusal, described
        )
        if folder is not None:
            _write(found, folder)
        return found

    if strange := _strange(scores):
        return result(None, None, strange)
    if (count := int(scores.trusted.sum())) < LEAST_LENSES:
        raise _too_few(count, images.location, reasons)
    lenses = summaries_of(scores)
    with _kept(folder, cache) as place:
        seen = simulate_and_look(
            chosen,
            lumps,
            drawn_fractions(simulations, largest, seed),
            model=str(model) if not Path(model).is_dir() else str(Path(model).resolve()),
            model_digest=digest,
            folder=place,
            seed=seed,
            sources=located_sources(sources),
            cluster=cluster,
            workers=workers,
            progress=progress,
        )
    with counted("learning", FOLDS * EPOCHS, show=progress) as step:
        likelihood = SetLikelihood.learn(
            summaries_from({name: column[seen.trusted] for name, column in seen.numbers.items()}),
            seen.fraction[seen.trusted],
            largest,
            seed=seed,
            on_epoch=step,
        )
    posterior = likelihood.posterior(likelihood.curves(lenses), PRIORS[prior](largest))
    likeness = like_simulated(likelihood, lenses, posterior.most_probable, seed=seed)
    refusal = likeness.refusal
    return result(None if refusal else posterior, likeness, refusal)


@contextmanager
def _kept(folder: Path | None, cache: str | Path | None) -> Iterator[Path]:
    """Folder for the simulated lenses: for good, or for this call if there is no place."""
    if cache is not None:
        yield Path(cache)
    elif folder is not None:
        yield folder / SIMULATED
    else:
        with tempfile.TemporaryDirectory(prefix="lumpylens-") as passing:
            yield Path(passing) / SIMULATED


def _uniform(largest: float) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    return np.zeros_like


def _log_uniform(largest: float) -> Callable[[NDArray[np.float64]], NDArray[np.float64]]:
    def log_prior(fraction: NDArray[np.float64]) -> NDArray[np.float64]:
        inside = fraction >= SMALLEST_SHARE * largest
        return np.where(inside, -np.log(np.where(inside, fraction, 1.0)), -np.inf)

    return log_prior


PRIORS = {"uniform": _uniform, "log-uniform": _log_uniform}


def _strange(scores: Scores) -> str:
    """What the model says of all images together, if that puts a warning on every one of them."""
    return scores.remark if scores.remark and all(scores.error or w for w in scores.warning) else ""


def _check_lumps(lumps: Substructure) -> None:
    by_mass = lumps.einstein_radius_px is not None or lumps.mass_msun is not None
    if by_mass or (lumps.mass_function is not None and lumps.count is not None):
        raise DataError(
            "the masses of this substructure are given, so it has no fraction to infer; give one "
            "with a mass_fraction, such as points-compensated or haloes"
        )


def _check_numbers(
    largest: float, prior: str, simulations: int, seed: int, workers: int, cluster: str | None
) -> None:
    if not 0 < largest < 1:
        raise DataError(f"largest is a fraction between 0 and 1, got {largest:g}")
    if prior not in PRIORS:
        raise DataError(f"prior is {' or '.join(PRIORS)}, got {prior!r}")
    if simulations < LEAST_SIMULATED:
        raise DataError(
            f"at least {LEAST_SIMULATED} simulated lenses are needed, got {simulations}"
        )
    if seed < 0:
        raise DataError(f"a seed is not negative, got {seed}")
    if workers < 1:
        raise DataError(f"at least one worker is needed, got {workers}")
    if workers > 1 and cluster is not None:
        raise DataError("give either workers or a cluster")


def _check_place(folder: Path) -> None:
    """Refuse a folder that holds anything but results of an earlier call."""
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder} is a file; give a folder to write to")
    known = {NUMBERS, LENSES, SIMULATED, PAGE, POSTERIOR, COMPARED}
    if folder.is_dir() and (foreign := {entry.name for entry in folder.iterdir()} - known):
        raise DataError(
            f"{folder} holds {min(foreign)}, which is not part of such a result, and is left as it "
            "is; give a new or an empty folder"
        )
    check_writable(folder / NUMBERS)


def _too_few(count: int, location: object, reasons: Sequence[str] = ()) -> DataError:
    why = next(filter(None, reasons), "")
    return DataError(
        f"a fraction needs at least {LEAST_LENSES} lenses, and {location} has {count}"
        + (f" that can be used; of another one, {why}" if why else "")
    )


def _write(found: SubstructureFraction, folder: Path) -> None:
    """Write all files of a result; what an earlier call left and this one does not have, goes."""
    from lumpylens.report.fraction_page import write_fraction_page

    folder.mkdir(parents=True, exist_ok=True)
    for name in (POSTERIOR, COMPARED):
        (folder / name).unlink(missing_ok=True)
    write_columns({"id": found.id, "left_out": found.reason}, folder / LENSES)
    write_fraction_page(found, folder, posterior=POSTERIOR, compared=COMPARED)
    found.write(folder / NUMBERS)
