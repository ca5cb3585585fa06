"""What lumps change in an image and a smooth lens of the same population cannot imitate.

The smooth lenses of `Smooth` have the noise, the point-spread function and the compression of their
population. `refit` fits their model to images, and what remains is the signal: whitened residuals
and, as further numbers, departures from the population in its standard deviations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lumpylens.physics.fit_data import Data
from lumpylens.physics.inference import evidence
from lumpylens.physics.model import NoiseLevel, SmoothModel
from lumpylens.physics.noise import BLOCK, Measurement, jpeg_steps
from lumpylens.physics.parameters import NAMES
from lumpylens.physics.region import RENDERED_MARGIN_PX
from lumpylens.physics.render import Scene
from lumpylens.simulation import Population, Substructure
from lumpylens.simulation.camera import brightness, develop, expose
from lumpylens.simulation.lens import Lens, add_substructure, draw_lens
from lumpylens.simulation.populations import PSF_SIGMAS

COMPARED_PX = {"slc": 104, "model-a": 112, "model-b": 112}
"""Side of the compared square; of other populations, the whole image. The lumps lie within 17 px
(`slc`) and 42 px (of most lenses of the others) of the middle."""

POPULATION_DRAWS = 4000
"""Smooth lenses behind mean and covariance of a population."""

CANDIDATES = 10
"""Lenses of which one is measured."""

POPULATION_STREAM, LENS_STREAM, LUMPS_STREAM, SCORE_STREAM = range(1, 5)
"""Streams of random numbers."""

NO_LIGHT = 1e-12
"""Amplitude of a lens galaxy without light, whose logarithm is taken."""

UNKNOWN_SCALE, UNKNOWN_BACKGROUND = 1.0, 10.0
"""Standard deviations, for stretched images: of the logarithm of grey levels per unit of
brightness, and of the background, grey levels. Much wider than the data leave them."""

ENOUGH_GAIN, ENOUGH_PART = 0.02, 0.005
"""A fit is done where a further step would gain less than this, in squared standard deviations,
plus this part of what remains. The step's linear gain is then taken too."""

MOST_STEPS = 200
"""Bound on the steps of a fit. With 150, all but 2 of 960 lumpy images of `euclid` and `lsst` are
done."""


@dataclass(frozen=True)
class Smooth:
    """The smooth lens of many lumpy images, and what an observer knows of it.

    Attributes
    ----------
    lens : Lens
    model : SmoothModel
        With the lens's own noise and PSF, which are known.
    truth : Tensor, shape (k + 3,)
        Free parameters, logarithms of the amplitudes of lens light and source, background.
    axes : Tensor, shape (k + 3, q)
        Standard deviations of the population along its principal axes.
    scale : float
        Grey levels per unit of brightness; 1 for linear images.
    root : Tensor, shape (a,)
        Square root of the information of every compared number.
    sigma : Tensor, shape (a,)
        Standard deviation of its noise, before it is rounded.
    """

    lens: Lens
    model: SmoothModel
    truth: Tensor
    axes: Tensor
    scale: float
    root: Tensor
    sigma: Tensor

    @property
    def population_axes(self) -> int:
        """Number of directions in which lenses of the population differ."""
        return self.axes.shape[1]

    def linearise(self, place: Tensor) -> tuple[Tensor, Tensor]:
        """Whitened prediction (n, a) and its derivatives (n, q, a) at places (n, q).

        A place is a distance from the truth in standard deviations of the population.
        """
        numbers = self.truth + place @ self.axes.T
        count = len(self.model.free)
        light = numbers[:, count : count + 2].exp()
        amplitudes = torch.cat([light, numbers[:, count + 2 :]], dim=1)
        line = self.model.linearise(numbers[:, :count], amplitudes)
        line.tangents[:, count : count + 2] *= light[..., None]
        line.tangents.mul_(self.root)
        return line.predicted * self.root, self.axes.T @ line.tangents

    def observe(self, clean: NDArray[np.float32]) -> Tensor:
        """Whitened numbers (n, a) of noiseless images (n, H, W)."""
        measurement = self.model.measurement
        region = measurement.crop(torch.from_numpy(clean)) * self.scale
        basis = measurement.basis
        seen = basis @ region @ basis.T + measurement.constant * self.truth[-1]
        return measurement.select(seen) * self.root


def typical_lenses(population: Population, count: int, seed: int) -> list[int]:
    """Numbers of lenses whose sources are as bright as those of the population.

    Of candidates in the order of the source's signal-to-noise, one of every `CANDIDATES` is taken
    at random. Signals grow with it, so that few lenses stand for the population.
    """
    seen = []
    for index in range(count * CANDIDATES):
        lens = draw_lens(population, np.random.default_rng((LENS_STREAM, seed, index)))
        source = brightness(replace(lens, lens_light_brightness=0.0), population.size_px)
        light = source if not lens.lens_light_brightness else brightness(lens, population.size_px)
        photons = 0.0 if math.isnan(lens.photons) else 1 / lens.photons
        seen.append(float((source**2 / (lens.noise**2 + photons * light)).sum()))
    strata = np.argsort(seen).reshape(count, CANDIDATES)
    picked = np.random.default_rng((LENS_STREAM, seed)).integers(CANDIDATES, size=count)
    # Not in the order of brightness: checks are made on the first.
    order = np.random.default_rng((SCORE_STREAM, seed)).permutation(count)
    return [int(index) for index in strata[np.arange(count), picked][order]]


def smooth(population: Population, spread: NDArray[np.float64], seed: int, index: int) -> Smooth:
    """Draw a lens and what is known of it; `spread` is the covariance of `population_spread`."""
    random = np.random.default_rng((LENS_STREAM, seed, index))
    lens = draw_lens(population, random)
    clean = brightness(lens, population.size_px, cusp_pitch=population.cusp_pitch)
    scale, background, steps, rounding = 1.0, 0.0, None, 0.0
    size = COMPARED_PX.get(population.name, population.size_px)
    if population.output == "jpeg":
        exposure = expose(clean, lens, population, random)
        image = develop(exposure, lens, population, "", 0)
        assert image.jpeg_table is not None
        steps = jpeg_steps(torch.as_tensor(image.jpeg_table), size // BLOCK)
        scale = 255 / float(np.ptp(exposure))
        # The mean of rectified noise on an empty sky.
        background = scale * (lens.noise * math.sqrt(2 / math.pi) - float(exposure.min()))
        rounding = 1 / 12
    margin = 0 if size == population.size_px else RENDERED_MARGIN_PX
    grid = 1 if steps is None else BLOCK
    first = round((population.size_px - size) / 2 / grid) * grid
    offset = first + (size - population.size_px) / 2
    side = size + 2 * margin
    full = lens.parameters()
    free = tuple(name for name, row in zip(NAMES, spread, strict=False) if row.any())
    known = [NAMES.index(name) for name in free]
    rows = [*known, *range(len(NAMES), len(NAMES) + 3)]
    photons = 0.0 if math.isnan(lens.photons) else scale / lens.photons
    model = SmoothModel(
        Scene(side, side, offset, offset, cusp_samples=2, cusp_pitch=population.cusp_pitch),
        Measurement(first, first, size, steps),
        full[0],
        free,
        NoiseLevel((lens.noise * scale) ** 2 + rounding, photons),
        psf_radius=math.ceil(PSF_SIGMAS * lens.psf_sigma_px),
    )
    truth = torch.tensor([
        *full[0, known], *np.log(scale * np.maximum(
            [lens.lens_light_brightness, lens.source_brightness], NO_LIGHT)), background,
    ], dtype=torch.float32)  # fmt: skip
    bare = Smooth(
        lens,
        model,
        truth,
        principal_axes(spread[np.ix_(rows, rows)]),
        scale,
        torch.ones(1),
        torch.ones(1),
    )
    amplitudes = torch.cat([truth[-3:-1].exp(), truth[-1:]])[None]
    line = model.linearise(truth[None, :-3], amplitudes)
    told = evidence(model, Data(line.predicted, line.sigma), line)
    return replace(bare, root=told.information[0].sqrt(), sigma=line.sigma[0])


def population_spread(population: Population, seed: int) -> NDArray[np.float64]:
    """Covariance of smooth lenses: parameters, log amplitudes of both lights, and background.

    The point-spread function, which is known, does not vary.
    """
    random = np.random.default_rng((POPULATION_STREAM, seed))
    lenses = [draw_lens(population, random) for _ in range(POPULATION_DRAWS)]
    rows = np.zeros((len(lenses), len(NAMES) + 3))
    rows[:, :-3] = [lens.numbers() for lens in lenses]
    rows[:, NAMES.index("log_psf_sigma_px")] = 0
    lights = [[lens.lens_light_brightness, lens.source_brightness] for lens in lenses]
    rows[:, -3:-1] = np.log(np.maximum(lights, NO_LIGHT))
    if not any(lens.lens_light_brightness for lens in lenses):
        # The shape of a light that is not there.
        rows[:, [i for i, name in enumerate(NAMES) if name.startswith("lens_light")]] = 0
    rows -= rows.mean(axis=0)
    rows[:, np.ptp(rows, axis=0) < 1e-9] = 0
    covariance: NDArray[np.float64] = rows.T @ rows / len(rows)
    if population.output == "jpeg":
        covariance[-3:-1, -3:-1] += UNKNOWN_SCALE**2
        covariance[-1, -1] += UNKNOWN_BACKGROUND**2
    return covariance


def principal_axes(covariance: NDArray[np.float64]) -> Tensor:
    """Columns (k, q) whose products are the covariance, without directions that do not vary."""
    size = np.sqrt(np.diag(covariance)).clip(1e-12)
    share, vectors = np.linalg.eigh(covariance / size / size[:, None])
    kept = share > 1e-6
    return torch.tensor(
        size[:, None] * vectors[:, kept] * np.sqrt(share[kept]), dtype=torch.float32
    )


@dataclass(frozen=True)
class Refit:
    """Best smooth lenses of images.

    Attributes
    ----------
    remains : Tensor, shape (n, a + q)
        What the best smooth lens leaves: whitened residuals, and its departure from the centre of
        the prior. Its square is the energy.
    linear : Tensor, shape (n,)
        Square of what the first step was to leave.
    unfinished : int
        Fits that were stopped.
    """

    remains: Tensor
    linear: Tensor
    unfinished: int


def refit(
    lens: Smooth, seen: Tensor, centre: Tensor | None = None, start: Tensor | None = None
) -> Refit:
    """Fit the smooth model to whitened images (n, a) by the method of Levenberg and Marquardt.

    Parameters
    ----------
    lens : Smooth
    seen : Tensor, shape (n, a)
    centre : Tensor, shape (n, q), optional
        Of the prior, as a place. Default: the truth, so that without lumps nothing remains.
    start : Tensor, shape (n, q), optional
        Place where the fits begin. Default: the truth.
    """
    count = len(seen)
    nowhere = torch.zeros(count, lens.population_axes)
    centre = nowhere if centre is None else centre
    place = nowhere if start is None else start
    remains = torch.zeros(count, seen.shape[1] + lens.population_axes)
    running = torch.arange(count)
    distinct = place[:1] if start is None else place
    predicted, tangents = (part.expand(count, *part.shape[1:]) for part in lens.linearise(distinct))
    damping = torch.full((count,), 1e-3, dtype=torch.float64)
    eye = torch.eye(lens.population_axes, dtype=torch.float64)
    first = torch.zeros(count, dtype=torch.float64)
    unfinished = 0
    for iteration in range(MOST_STEPS + 1):
        residual, pull = seen[running] - predicted, centre[running] - place
        energy = residual.double().square().sum(dim=1) + pull.double().square().sum(dim=1)
        gradient = (torch.einsum("nqa,na->nq", tangents, residual) + pull).double()
        information = torch.matmul(tangents, tangents.mT).double() + eye
        newton = torch.linalg.solve(information, gradient[..., None])[..., 0]
        gain = (gradient * newton).sum(dim=1)
        if iteration == 0:
            first = energy - gain
        done = gain < ENOUGH_GAIN + ENOUGH_PART * (energy - gain)
        if iteration == MOST_STEPS:
            unfinished = int((~done).sum())
            done[:] = True
        if done.any():
            step = newton[done].float()
            left = residual[done] - torch.einsum("nqa,nq->na", tangents[done], step)
            remains[running[done]] = torch.cat([left, pull[done] - step], dim=1)
            if done.all():
                break
        todo = ~done
        running, place, damping, energy = (v[todo] for v in (running, place, damping, energy))
        if done.any():
            predicted, tangents = predicted[todo], tangents[todo]
        diagonal = torch.diag_embed(torch.diagonal(information[todo], dim1=1, dim2=2))
        damped = information[todo] + damping[:, None, None] * diagonal
        step = torch.linalg.solve(damped, gradient[todo][..., None])[..., 0].float()
        trial, slopes = lens.linearise(place + step)
        left = (seen[running] - trial).double().square().sum(dim=1)
        left += (centre[running] - place - step).double().square().sum(dim=1)
        better = left < energy
        place = torch.where(better[:, None], place + step, place)
        # Most steps are better: then nothing is copied.
        if better.all():
            predicted, tangents = trial, slopes
        else:
            predicted = torch.where(better[:, None], trial, predicted)
            tangents = torch.where(better[:, None, None], slopes, tangents)
        damping = torch.where(better, damping * 0.1, damping * 10)
    return Refit(remains, first, unfinished)


def lumpy_images(
    lens: Lens, population: Population, lumps: Substructure, draws: int, seed: int, index: int
) -> NDArray[np.float32]:
    """Noiseless images (draws, H, W) of one lens under many draws of lumps."""
    random = np.random.default_rng((LUMPS_STREAM, seed, index))
    return np.stack([
        brightness(
            add_substructure(lens, lumps, random), population.size_px,
            cusp_pitch=population.cusp_pitch,
        )
        for _ in range(draws)
    ])  # fmt: skip
