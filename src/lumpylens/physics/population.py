"""Population of normal images: shared numbers, noise, and the distribution of the other numbers.

Empirical Bayes: all normal images are fitted, the population is learned from the fits, and the
fits are repeated with it until it no longer changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from lumpylens.physics.batches import map_chunks
from lumpylens.physics.fit_data import Data, Fit, Prior
from lumpylens.physics.inference import evidence, normal_matrix
from lumpylens.physics.model import NoiseLevel, SmoothModel
from lumpylens.physics.noise import deviance_of
from lumpylens.physics.parameters import INDEX

__all__ = [
    "GaussianPopulation",
    "SharedTest",
    "central",
    "learn_detail",
    "learn_noise",
    "learn_population",
    "lens_light_significance",
    "robust_gaussian",
    "shared_step",
    "sharing_tests",
]

LONGEST_STEP = 0.2
"""Largest change of a shared number in one step, in its logarithm or in pixels, so that a step does
not leave the range in which the fits are linear. Not tuned."""


@dataclass(frozen=True)
class SharedInformation:
    """Information about shared numbers, per image, with the image's own numbers projected out.

    Attributes
    ----------
    gradient : Tensor of float64, shape (n, s)
    information : Tensor of float64, shape (n, s, s)
    """

    gradient: Tensor
    information: Tensor


def shared_information(
    model: SmoothModel, data: Data, fitted: Fit, prior: Prior, names: Sequence[str], *, newton: bool
) -> SharedInformation:
    """Compute the information about shared numbers, profiled over each image's own numbers.

    Parameters
    ----------
    names : sequence of str
        Shared parameters.
    newton : bool
        Whether to use the observed curvature, which prevents steps that are too long, instead of
        the expected information, which a test needs.
    """
    count, extra = model.count, len(names)
    image_index = [*range(count), *range(count + extra, count + extra + 3)]
    shared = list(range(count, count + extra))

    def of_chunk(index: Tensor) -> SharedInformation:
        part, fit_part = data.select(index), fitted.select(index)
        line = model.linearise(
            fit_part.values, fit_part.amplitudes, part.psf, part.noise, also=names
        )
        comparison = evidence(model, part, line)
        weight = (
            torch.maximum(comparison.information, comparison.curvature)
            if newton
            else comparison.information
        )
        hessian = normal_matrix(line, weight).double()
        gradient = torch.matmul(line.tangents, comparison.score[..., None])[..., 0].double()
        hessian[:, :count, :count] += prior.precision.double()
        gradient[:, :count] -= ((fit_part.values - prior.mean) @ prior.precision).double()
        cross = hessian[:, image_index][:, :, shared]
        right = torch.cat([cross, gradient[:, image_index, None]], dim=2)
        solved = torch.linalg.solve(hessian[:, image_index][:, :, image_index], right)
        return SharedInformation(
            gradient[:, shared] - (cross.mT @ solved[:, :, -1:])[..., 0],
            hessian[:, shared][:, :, shared] - cross.mT @ solved[:, :, :-1],
        )

    parts = map_chunks(of_chunk, len(data))
    return SharedInformation(
        torch.cat([part.gradient for part in parts]),
        torch.cat([part.information for part in parts]),
    )


def learn_detail(model: SmoothModel, data: Data, fitted: Fit, prior: Prior) -> SmoothModel:
    """Learn how much detail sources have, from fits of normal images under `prior`."""
    detail = model.detail
    if detail is None:
        return model
    basic = len(model.free)
    errors = _variances(model, data, fitted, prior)[:, basic : model.count]
    return replace(model, detail=detail.learned(fitted.values[:, basic:], errors))


def lens_light_significance(model: SmoothModel, data: Data, fitted: Fit, prior: Prior) -> Tensor:
    """Amplitude of each image's lens light over its error, shape (n,).

    All other numbers of the image are marginalised.
    """
    variance = _variances(model, data, fitted, prior)[:, model.count]
    ratio: Tensor = fitted.amplitudes[:, 0].double() * variance.rsqrt()
    return ratio


def _variances(model: SmoothModel, data: Data, fitted: Fit, prior: Prior) -> Tensor:
    """Variances of each image's numbers and amplitudes under `prior`, shape (n, count + 3)."""
    count = model.count

    def of_chunk(index: Tensor) -> Tensor:
        part, fit_part = data.select(index), fitted.select(index)
        line = model.linearise(fit_part.values, fit_part.amplitudes, part.psf, part.noise)
        hessian = normal_matrix(line, evidence(model, part, line).information).double()
        hessian[:, :count, :count] += prior.precision.double()
        scale = hessian.diagonal(dim1=1, dim2=2).clamp_min(1e-20).rsqrt()
        unit = hessian * scale[:, :, None] * scale[:, None, :]
        unit = unit + 1e-9 * torch.eye(count + 3, dtype=unit.dtype, device=unit.device)
        variances: Tensor = torch.linalg.inv(unit).diagonal(dim1=1, dim2=2) * scale.square()
        return variances

    return torch.cat(map_chunks(of_chunk, len(data)))


def shared_step(
    model: SmoothModel, data: Data, fitted: Fit, prior: Prior, names: Sequence[str]
) -> tuple[SmoothModel, float]:
    """Make one Newton step of the shared numbers `names`, given the fits of many images.

    Returns
    -------
    SmoothModel
    float
        Largest change, in logarithms or pixels.
    """
    if not names:
        return model, 0.0
    profiled = shared_information(model, data, fitted, prior, names, newton=True)
    hessian, gradient = profiled.information.sum(dim=0), profiled.gradient.sum(dim=0)
    ridge = 1e-8 * torch.diag(hessian.diagonal())
    step = torch.linalg.solve(hessian + ridge, gradient).clamp(-LONGEST_STEP, LONGEST_STEP)
    shared = model.shared.clone()
    shared[[INDEX[name] for name in names]] += step.to(shared)
    return model.with_shared(shared), float(step.abs().max())


@dataclass(frozen=True)
class SharedTest:
    """Test of whether a number is common to all normal images.

    Attributes
    ----------
    spread : float
        Estimated standard deviation between images, beyond the errors of the fits.
    significance : float
        Variance between images over its standard error.
    """

    spread: float
    significance: float


def sharing_tests(
    model: SmoothModel, data: Data, fitted: Fit, prior: Prior, names: Sequence[str]
) -> dict[str, SharedTest]:
    """Test each shared number for a spread between images, by a score test.

    With gradient g and information h of one image, g / h is that image's departure from the
    shared value and 1 / h its error; under a common value the departures have mean square 1 / h.
    The comparison is weighted by h^2, the locally most powerful choice.
    """
    profiled = shared_information(model, data, fitted, prior, names, newton=False)
    tests = {}
    for k, name in enumerate(names):
        g, h = profiled.gradient[:, k], profiled.information[:, k, k].clamp_min(1e-9)
        # Trimmed, since a few failed fits are no evidence of a spread.
        keep = g.square() / h < torch.quantile(g.square() / h, 0.98)
        excess, scale = (g.square() - h)[keep].sum(), h.square()[keep].sum()
        error = (2 * h.square()[keep].sum()).sqrt()
        spread = float((excess / scale).clamp_min(0).sqrt())
        tests[name] = SharedTest(spread, float(excess / error))
    return tests


def learn_noise(model: SmoothModel, data: Data, fitted: Fit) -> NoiseLevel:
    """Learn the noise level of fitted normal images by maximum likelihood.

    The worst tenth of the images is left out, since a failed fit is not noise.
    """
    from scipy.optimize import minimize

    def predict(index: Tensor) -> Tensor:
        part, fit_part = data.select(index), fitted.select(index)
        return model.predict(fit_part.values, fit_part.amplitudes, part.psf)

    predicted = torch.cat(map_chunks(predict, len(data)))
    compared, steps = model.measurement.select(predicted), model.measurement.active_steps

    def energy(logs: np.ndarray) -> float:
        trial = replace(model, noise=NoiseLevel(*(float(v) for v in np.exp(logs))))

        def deviances(index: Tensor) -> Tensor:
            sigma = trial.sigma(predicted[index], fitted.amplitudes[index], None)
            deviance = deviance_of(data.observed[index], compared[index], sigma, steps).sum(dim=1)
            return deviance if steps is not None else deviance + 2 * torch.log(sigma).sum(dim=1)

        per_image = torch.cat(map_chunks(deviances, len(data)))
        return float(per_image.sort().values[: max(1, 9 * len(per_image) // 10)].mean())

    # The start scales with the brightness of the images, so that few steps are needed in any unit.
    peak = float(predicted.amax(dim=(1, 2)).median()) / (1 if steps is None else 8)
    start = np.log(np.array([1e-6, 1e-4, 1.0, 1e-6]) * [peak**2, peak, 1.0, 1.0])
    current = np.array(
        [model.noise.floor, model.noise.gain, model.noise.offset, model.noise.roughness]
    )
    start = np.where(current > 1e-9 * max(peak, 1), np.log(np.maximum(current, 1e-300)), start)
    simplex = start + np.vstack([np.zeros(4), np.eye(4)])
    options = {"maxfev": 120, "xatol": 0.05, "fatol": 0.5, "initial_simplex": simplex}
    best = minimize(energy, start, method="Nelder-Mead", options=options)
    return NoiseLevel(*(float(v) for v in np.exp(best.x)))


@dataclass(frozen=True)
class GaussianPopulation:
    """Gaussian distribution of the free parameters of normal images.

    Attributes
    ----------
    mean : Tensor of float64, shape (k,)
    covariance : Tensor of float64, shape (k, k)
        Intrinsic, that is, without the errors of the fits.
    """

    mean: Tensor
    covariance: Tensor

    def prior(self, *, free: int | None = None) -> Prior:
        """Make a prior.

        Parameters
        ----------
        free : int, optional
            Position of a logarithm about which nothing is known: a standard deviation of 1 is
            added.
        """
        covariance = self.covariance.clone()
        if free is not None:
            covariance[free, free] += 1
        return Prior(self.mean.float(), torch.linalg.inv(covariance).float())

    def first(self, count: int) -> GaussianPopulation:
        """Take the first numbers alone."""
        return GaussianPopulation(self.mean[:count], self.covariance[:count, :count])

    def with_independent(self, variance: Tensor) -> GaussianPopulation:
        """Add numbers of mean 0 that depend on no others, with the given variances (m,)."""
        mean = torch.cat([self.mean, torch.zeros_like(variance)])
        return GaussianPopulation(mean, torch.block_diag(self.covariance, torch.diag(variance)))


def central(values: Tensor, floor: Tensor | float = 0.0) -> Tensor:
    """Find the rows (n,) of values (n, k) within 6 robust standard deviations in every column.

    Outliers would widen the population that they are compared with. A row that is not finite, of a
    fit that failed, is one.
    """
    departure = (values - values.nanmedian(dim=0).values).abs()
    width = 1.4826 * departure.nanmedian(dim=0).values + floor
    return (departure <= 6 * width).all(dim=1)


def robust_gaussian(values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (k,) and covariance (k, k) of values (n, k), without outliers."""
    inliers = values[central(values)]
    return inliers.mean(dim=0), torch.cov(inliers.T)


def learn_population(
    values: Tensor,
    information: Tensor,
    floor: Tensor,
    prior: Prior | None = None,
    iterations: int = 200,
) -> GaussianPopulation:
    """Learn mean and intrinsic covariance of parameters that are known with errors.

    Expectation-maximisation for estimates ``x_i ~ N(mean, covariance + information_i^-1)`` (Bovy,
    Hogg & Roweis 2011, equations 17 to 21, with one component), in a form in which an image need
    not hold information about every parameter.

    Parameters
    ----------
    values : Tensor, shape (n, k)
        Estimates.
    information : Tensor, shape (n, k, k)
        About them, without the prior.
    floor : Tensor, shape (k,)
        Smallest intrinsic standard deviation of each parameter.
    prior : Prior, optional
        Under which the values were estimated, and which is taken out again. Default: none.
    """
    values, information = values.double(), information.double()
    keep = central(values, floor.double()) & torch.isfinite(information).all(dim=(1, 2))
    values, information = values[keep], information[keep]
    mean, covariance = values.mean(dim=0), torch.cov(values.T)
    weighted = torch.einsum("nij,nj->ni", information, values)
    if prior is not None:
        weighted += (values - prior.mean.double()) @ prior.precision.double()
    least = torch.diag(floor.double().square())
    eye = torch.eye(len(mean), dtype=mean.dtype)
    for _ in range(iterations):
        uncertain = covariance @ torch.linalg.inv(information @ covariance + eye)
        expected = mean + torch.einsum("nij,nj->ni", uncertain, weighted - information @ mean)
        mean = expected.mean(dim=0)
        departure = expected - mean
        covariance = (uncertain + departure[:, :, None] * departure[:, None]).mean(dim=0)
        covariance = (covariance + covariance.mT) / 2 + 1e-12 * least
    covariance = covariance * _widening(*values.shape)
    shortfall = (floor.double().square() - covariance.diagonal()).clamp_min(0)
    return GaussianPopulation(mean, covariance + torch.diag(shortfall))


def _widening(count: int, numbers: int) -> float:
    """Factor on the covariance of `numbers` parameters of `count` lenses, to judge other lenses.

    A mean and a covariance from few lenses fit these better than others. The variance of the
    prediction for another one is that of a Student distribution (Gelman et al. 2013, section 3.6).
    """
    return (1 + 1 / count) * (count - 1) / max(count - numbers - 2, 1)
