"""Learning a population of smooth lenses from its normal images: fit, learn, refit."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence, Set
from dataclasses import replace

import torch
from torch import Tensor

from lumpylens.physics.batches import map_chunks
from lumpylens.physics.fit_data import Data, Fit, Prior
from lumpylens.physics.inference import MOST_STEPS, evidence, fit
from lumpylens.physics.model import NoiseLevel, SmoothModel
from lumpylens.physics.parameters import GEOMETRY, INDEX, NAMES, SHAREABLE
from lumpylens.physics.population import (
    GaussianPopulation,
    learn_detail,
    learn_noise,
    learn_population,
    lens_light_significance,
    shared_step,
    sharing_tests,
)
from lumpylens.physics.records import join
from lumpylens.physics.region import scene_of
from lumpylens.physics.staged_fit import Stage, staged_fit

__all__ = [
    "broad_prior", "learn_instrument", "learn_spread", "stages_of", "start_model", "without_detail",
]  # fmt: skip

GREY = 255.0
"""Brightness of the peak in the units of fits, which are those of 8-bit images."""

VARIES = 0.05
"""A number is common to a population if it varies by less than this between normal images
(5 % in a length or an index, 0.05 pixels, 0.05 in ellipticity) beyond the errors of the fits. Not
tuned."""

ROUNDS = 5
SETTLED = 3e-3
"""Most rounds of fit and learning, and the largest change of a shared number that ends them. A
smaller one takes more rounds for changes that are far below the spread of a population. Not
tuned."""

DETAIL_SAMPLE, DETAIL_ROUNDS, DETAIL_SETTLED = 120, 8, 0.1
"""Images from which the detail of sources is learned, most rounds, and the change of the logarithm
of a spread that ends them. Not tuned."""

REFIT_STEPS = 15
"""Bound on the steps of a fit with detail that is continued while shared numbers still change: the
few fits that take longer take most of the time, and go on in the next round. Not tuned."""

SAMPLINGS = ((1, 1.0), (2, 1 / 3), (2, 1 / 2), (4, 1 / 4))
"""Rays per pixel and axis for the lens light, and their distance, px. A telescope takes the mean
over the pixel, which the last comes close to; simulators take few rays, some of them close
together. In the middle of a galaxy the difference is larger than the noise."""

OUTER_QUARTER = 0.25
"""Part of the images on each side whose differences between samplings do not count: where one of
the fits failed, they say nothing about rays. Not tuned."""

LENS_LIGHT = tuple(name for name in NAMES if "lens_light" in name)
LEAST_LENS_LIGHT = 5.0
"""Median significance of the lens light below which images are taken to have none: in simulated
images with it the median is some hundreds, in those without it below one."""

INFORMATION = 0.9995
"""Fraction of the information on source positions that the compared coefficients hold; a larger one
compares more coefficients, most of which are rounded to zero, and takes longer. Not tuned."""

BROAD = {
    "log_einstein_radius_px": 0.35,
    "shear_1": 0.15,
    "shear_2": 0.15,
    "source_x": 0.6,
    "source_y": 0.6,
    "centre_x_px": 1.0,
    "centre_y_px": 1.0,
}
BROAD_OTHER = 0.4
"""Standard deviations of the prior of single fits: weak, so that the data decide the estimates. Not
tuned."""


def broad_prior(model: SmoothModel) -> Prior:
    """Make a weak prior around the shared numbers and an average lens."""
    width = model.shared.new_tensor([BROAD.get(name, BROAD_OTHER) for name in model.free])
    mean = model.shared[model.free_index].clone()
    for row, name in enumerate(model.free):
        if name in GEOMETRY[1:]:
            mean[row] = 0.0
    precision = width.square().reciprocal()
    if model.detail is not None:
        of_shapelets = model.detail.variance.reciprocal().to(precision)
        mean = torch.cat([mean, torch.zeros_like(of_shapelets)])
        precision = torch.cat([precision, of_shapelets])
    return Prior(mean, torch.diag(precision))


def start_model(model: SmoothModel, estimates: Tensor) -> SmoothModel:
    """Set the shared numbers to the median of the encoder's estimates for normal images.

    Parameters
    ----------
    estimates : Tensor, shape (n, COUNT)
    """
    return model.with_shared(estimates.median(dim=0).values)


def stages_of(model: SmoothModel, shape: tuple[int, int]) -> list[Stage]:
    """Make the stages of a fit: a tolerant one, binned for compressed images, and the exact one."""
    tolerant = NoiseLevel(floor=4.0, gain=0.003, roughness=0.05)
    if model.measurement.steps is None:
        # A rough fit does not see the detail of a source.
        return [Stage(replace(model, noise=tolerant, detail=None), 6), Stage(model)]
    scene = scene_of(model.measurement, shape, pixel=2)
    rough = replace(model, scene=scene, noise=tolerant, psf_radius=model.psf_radius // 2 + 1)
    return [Stage(rough, 2), Stage(model)]


def fit_all(
    model: SmoothModel,
    shape: tuple[int, int],
    data: Data,
    start: Tensor,
) -> Fit:
    """Fit every image of a collection from starting points (n, COUNT)."""
    stages, prior = stages_of(model, shape), broad_prior(model)

    def fit_chunk(part: Tensor) -> Fit:
        begin = model.reduce(start[part])
        return staged_fit(stages, data.select(part), begin, prior).fitted

    return join(map_chunks(fit_chunk, len(data)))


def refit(model: SmoothModel, data: Data, earlier: Fit) -> Fit:
    """Continue earlier fits with a changed model."""
    prior, steps = broad_prior(model), MOST_STEPS if model.detail is None else REFIT_STEPS

    def fit_chunk(part: Tensor) -> Fit:
        values, amplitudes = earlier.values[part], earlier.amplitudes[part]
        return fit(model, data.select(part), values, prior, steps=steps, amplitudes=amplitudes)

    return join(map_chunks(fit_chunk, len(data)))


def learn_instrument(
    model: SmoothModel,
    shape: tuple[int, int],
    observe: Callable[[SmoothModel], Data],
    estimates: Tensor,
    report: Callable[[str], None],
) -> tuple[SmoothModel, list[dict[str, float]]]:
    """Learn shared numbers, noise, and which numbers are shared, from some normal images.

    Parameters
    ----------
    model : SmoothModel
        From `start_model`.
    shape : (int, int)
        Of the whole images.
    observe : callable
        Function that prepares the images for comparison with a model.
    estimates : Tensor, shape (n, COUNT)
        Estimates of the encoder.
    report : callable
        Called with a text about the progress.
    """
    rounds: list[dict[str, float]] = []
    # A Sersic profile is enough to learn all but the detail itself.
    detail, model = model.detail, replace(model, detail=None)
    data = observe(model)
    given_psf = data.psf is not None
    fitted = fit_all(model, shape, data, estimates)
    never = {"log_psf_sigma_px"} if given_psf else set()
    if lens_light_significance(model, data, fitted, broad_prior(model)).median() < LEAST_LENS_LIGHT:
        # Its amplitude stays free, for light that the source cannot describe; its shape is
        # not constrained by such images.
        never |= set(LENS_LIGHT)
        model = replace(model, free=tuple(n for n in model.free if n not in never))
        fitted = fit_all(model, shape, data, estimates)
    lit = never.isdisjoint(LENS_LIGHT)
    report(f"first fits: the lens galaxy is {'seen' if lit else 'not seen'}")
    for turn in range(ROUNDS):
        data = observe(model)
        shared = _shared(model, never)
        model, fitted, change = _settle(model, data, fitted, shared)
        if data.noise is None:
            good_data, good_fits = well_fitted(data, fitted)
            model = replace(model, noise=learn_noise(model, good_data, good_fits))
            fitted = refit(model, data, fitted)
        rounds.append(_record(turn, model, fitted, change))
        blur = math.exp(rounds[-1]["log_psf_sigma_px"])
        report(
            f"round {turn + 1} of at most {ROUNDS}: shared numbers moved by {change:.4f}"
            + ("" if given_psf else f", blur {blur:.2f} px")
        )
        if turn == 1:
            model, fitted = _free_what_varies(model, data, fitted, estimates, shared)
            if lit:
                model, fitted = _sample_pixels(model, data, fitted, _shared(model, never))
                rays = model.scene.cusp_samples
                report(f"the lens light of a pixel is the mean of {rays} x {rays} rays")
        if turn >= 2 and change < SETTLED:
            break
    if detail is not None:
        few = _spread_out(len(fitted.values), DETAIL_SAMPLE)
        model = _learn_sources(
            replace(model, detail=detail), observe, few, fitted.select(few), _shared(model, never)
        )
        assert model.detail is not None
        spread = ", ".join(f"{number:.2g}" for number in model.detail.spread)
        report(f"detail of the source, by order: {spread}")
        return model, rounds
    data = observe(model)
    return informative(model, data, refit(model, data, fitted)), rounds


def _shared(model: SmoothModel, never: Set[str]) -> list[str]:
    """Numbers that all images share, and that they tell about."""
    own = {*model.free, *never}
    return [name for name in SHAREABLE if name not in own and not name.startswith("mass")]


def _settle(
    model: SmoothModel, data: Data, fitted: Fit, shared: Sequence[str]
) -> tuple[SmoothModel, Fit, float]:
    """Two steps of the shared numbers, each with new fits; the last item is the last change."""
    change = 0.0
    for _ in range(2):
        good_data, good_fits = well_fitted(data, fitted)
        model, change = shared_step(model, good_data, good_fits, broad_prior(model), shared)
        fitted = refit(model, data, fitted)
    return model, fitted, change


def _spread_out(count: int, most: int) -> Tensor:
    """Choose at most so many positions of `count`, evenly."""
    return torch.linspace(0, count - 1, min(most, count), device="cpu").round().long()


def _learn_sources(
    model: SmoothModel,
    observe: Callable[[SmoothModel], Data],
    few: Tensor,
    fitted: Fit,
    shared: Sequence[str],
) -> SmoothModel:
    """Learn how much detail sources have, and the rest again, from a few images.

    Parameters
    ----------
    model : SmoothModel
        With a first guess of the detail.
    observe : callable
    few : Tensor of int, shape (m,)
        Positions of the images.
    fitted : Fit
        Of these, with Sersic sources.
    shared : sequence of str
        Numbers that all images share.
    """
    fitted = replace(fitted, values=model.adopt(fitted.values))
    for _ in range(DETAIL_ROUNDS):
        data = observe(model).select(few)
        fitted = refit(model, data, fitted)
        before = model.detail
        good_data, good_fits = well_fitted(data, fitted)
        prior = broad_prior(model)
        model, _ = shared_step(model, good_data, good_fits, prior, shared)
        if data.noise is None:
            model = replace(model, noise=learn_noise(model, good_data, good_fits))
        model = learn_detail(model, good_data, good_fits, prior)
        assert before is not None
        assert model.detail is not None
        if model.detail.change(before) < DETAIL_SETTLED:
            break
    return model


def _sample_pixels(
    model: SmoothModel, data: Data, fitted: Fit, shared: Sequence[str]
) -> tuple[SmoothModel, Fit]:
    """Find the rays over which the images average the lens light of a pixel."""
    from scipy.stats import trim_mean

    tried = []
    for samples, pitch in SAMPLINGS:
        scene = replace(model.scene, cusp_samples=samples, cusp_pitch=pitch)
        candidate, fits, _ = _settle(replace(model, scene=scene), data, fitted, shared)
        tried.append((candidate, fits))
    deviances = torch.stack([fits.deviance for _, fits in tried]).numpy()
    worse = trim_mean(deviances - deviances.mean(axis=0), OUTER_QUARTER, axis=1)
    return tried[int(worse.argmin())]


def _record(turn: int, model: SmoothModel, fitted: Fit, change: float) -> dict[str, float]:
    noise = model.noise
    return {
        "epoch": float(turn + 1),
        "train_loss": float(fitted.deviance.median()),
        "change": change,
        "noise_floor": noise.floor,
        "noise_gain": noise.gain,
        "noise_offset": noise.offset,
        "noise_roughness": noise.roughness,
        **{name: float(model.shared[INDEX[name]]) for name in SHAREABLE},
    }


def _free_what_varies(
    model: SmoothModel, data: Data, fitted: Fit, estimates: Tensor, shared: Sequence[str]
) -> tuple[SmoothModel, Fit]:
    """Make the numbers free that differ between normal images, by a score test."""
    good_data, good_fits = well_fitted(data, fitted)
    candidates = [*shared, "mass_eta_1", "mass_eta_2"]
    tests = sharing_tests(model, good_data, good_fits, broad_prior(model), candidates)
    varying = [n for n, t in tests.items() if t.spread > VARIES and t.significance > 5]
    if "mass_eta_1" in varying or "mass_eta_2" in varying:
        varying = [*(n for n in varying if not n.startswith("mass")), "mass_eta_1", "mass_eta_2"]
    if not varying:
        return model, fitted
    free = tuple(n for n in NAMES if n in model.free or n in varying)
    wider = replace(model, free=free)
    full = model.expand(fitted.values)
    start = wider.reduce(full)
    return wider, refit(wider, data, replace(fitted, values=start))


def well_fitted(data: Data, fitted: Fit) -> tuple[Data, Fit]:
    """Leave out the worst twentieth of the fits: among them are those that failed."""
    order = fitted.deviance.argsort()
    keep = order[: max(1, math.ceil(0.95 * len(order)))].sort().values
    return data.select(keep), fitted.select(keep)


def informative(model: SmoothModel, data: Data, fitted: Fit) -> SmoothModel:
    """Restrict the comparison to coefficients that hold information in normal images."""
    if model.measurement.steps is None:
        return model
    complete = replace(model, measurement=replace(model.measurement, active=None))
    x, y = (model.free.index(name) for name in ("source_x", "source_y"))

    def information_of(part: Tensor) -> Tensor:
        piece = data.select(part)
        line = complete.linearise(fitted.values[part], fitted.amplitudes[part], piece.psf)
        moved = line.tangents[:, [x, y]].square().sum(dim=1)
        return (evidence(complete, piece, line).information * moved).sum(dim=0)

    total = torch.stack(map_chunks(information_of, len(data))).sum(dim=0)
    ordered, order = total.sort(descending=True)
    count = int((ordered.cumsum(0) < INFORMATION * total.sum()).sum()) + 1
    active = order[:count].sort().values
    return replace(model, measurement=replace(model.measurement, active=active))


def learn_spread(
    model: SmoothModel, values: Tensor, information: Tensor, prior: Prior
) -> GaussianPopulation:
    """Learn the population of the fitted numbers, corrected for the errors of the fits.

    Shapelets of the source have the prior of `model`, and do not depend on the other numbers.

    Parameters
    ----------
    model : SmoothModel
    values : Tensor, shape (n, k)
    information : Tensor, shape (n, k, k)
    prior : Prior
        Of the fits.
    """
    if model.detail is not None:
        free = len(model.free)
        alone = learn_spread(
            replace(model, detail=None),
            values[:, :free],
            without_detail(model, information),
            prior.first(free),
        )
        return alone.with_independent(model.detail.variance)
    errors = information.diagonal(dim1=1, dim2=2).clamp_min(1e-20).rsqrt()
    # Errors of the model make good fits scatter by about as much as noise does. A spread that bad
    # fits cannot show may be smaller than their errors.
    typical = errors.nanmedian(dim=0).values.clamp_max(VARIES)
    return learn_population(values, information, typical, prior)


def without_detail(model: SmoothModel, information: Tensor) -> Tensor:
    """Information (n, k, k) about the free parameters alone, the source's shapelets marginalised.

    Parameters
    ----------
    model : SmoothModel
    information : Tensor, shape (n, k + m, k + m)
        Of the data about all fitted numbers.
    """
    if model.detail is None:
        return information
    free, whole = len(model.free), information.double()
    own = whole[:, free:, free:] + torch.diag(model.detail.variance.reciprocal()).to(whole)
    cross = whole[:, free:, :free]
    eliminated = cross.mT @ torch.linalg.solve(own, cross)
    marginal: Tensor = whole[:, :free, :free] - eliminated
    return marginal.to(information)
